use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Body, Frame};
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_oauth2::{Replayed, TokenCache, TokenError, TokenErrorKind};
use tower_test::mock;

use super::{HttpRequest, HttpResponse, layer_over, next, put};
use crate::support::{Source, credentials, hour, lasting, settle};

/// An API that says what it goes through, and how much of it is alive.
#[derive(Default)]
struct Tracked {
    ready: Option<Alive>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    log: Mutex<Vec<String>>,
    /// So many requests are answered with a 401 first.
    rejections: AtomicUsize,
    ready: Arc<AtomicUsize>,
    futures: Arc<AtomicUsize>,
    bodies: Arc<AtomicUsize>,
}

/// Counts for as long as it is there.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    fn say(&self, what: &str) {
        let [ready, futures, bodies] =
            [&self.ready, &self.futures, &self.bodies].map(|count| count.load(Ordering::SeqCst));
        let line = format!("{what}: {ready} ready, {futures} futures, {bodies} bodies");
        self.log.lock().unwrap().push(line);
    }

    fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

impl Clone for Tracked {
    fn clone(&self) -> Self {
        Self { ready: None, shared: self.shared.clone() }
    }
}

impl Service<HttpRequest> for Tracked {
    type Response = Response<TrackedBody>;
    type Error = BoxError;
    type Future = TrackedFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.ready.is_none() {
            self.ready = Some(Alive::new(&self.shared.ready));
            self.shared.say("made ready");
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: HttpRequest) -> TrackedFuture {
        self.ready.take().expect("called unready");
        let future = TrackedFuture {
            yielded: false,
            shared: self.shared.clone(),
            _alive: Alive::new(&self.shared.futures),
        };
        self.shared.say("called");
        future
    }
}

struct TrackedFuture {
    yielded: bool,
    shared: Arc<Shared>,
    _alive: Alive,
}

impl Future for TrackedFuture {
    type Output = Result<Response<TrackedBody>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.yielded {
            self.yielded = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut response = Response::new(TrackedBody { _alive: Alive::new(&self.shared.bodies) });
        let left = &self.shared.rejections;
        if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        Poll::Ready(Ok(response))
    }
}

struct TrackedBody {
    _alive: Alive,
}

impl Body for TrackedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(None)
    }
}

// R5
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_token_holds_neither_a_ready_service_nor_a_response() {
    let api = Tracked::default();
    let shared = api.shared.clone();
    let asked = api.shared.clone();
    let source = Source::new(move |n, _| {
        asked.say("token is asked for");
        let asked = asked.clone();
        async move {
            settle().await;
            asked.say("token is here");
            Ok(hour(n))
        }
    });
    let mut stack = layer_over(TokenCache::new(credentials(), source)).layer(api);

    // Miss: the service is kept by its owner, as a client is.
    let response = stack.ready().await.unwrap().call(put()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        shared.take_log(),
        [
            "made ready: 1 ready, 0 futures, 0 bodies",
            "token is asked for: 0 ready, 0 futures, 0 bodies",
            "token is here: 0 ready, 0 futures, 0 bodies",
            "made ready: 1 ready, 0 futures, 0 bodies",
            "called: 0 ready, 1 futures, 0 bodies",
        ]
    );
    drop(response);

    // Hit: the service that was made ready is the one that is called.
    let response = stack.ready().await.unwrap().call(put()).await.unwrap();
    assert_eq!(
        shared.take_log(),
        ["made ready: 1 ready, 0 futures, 0 bodies", "called: 0 ready, 1 futures, 0 bodies"]
    );
    drop(response);

    // 401
    shared.rejections.store(1, Ordering::SeqCst);
    let response = stack.ready().await.unwrap().call(put()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.extensions().get(), Some(&Replayed::Yes));
    assert_eq!(
        shared.take_log(),
        [
            "made ready: 1 ready, 0 futures, 0 bodies",
            "called: 0 ready, 1 futures, 0 bodies",
            "token is asked for: 0 ready, 0 futures, 0 bodies",
            "token is here: 0 ready, 0 futures, 0 bodies",
            "made ready: 1 ready, 0 futures, 0 bodies",
            "called: 0 ready, 1 futures, 0 bodies",
        ]
    );
    drop(response);
    shared.say("at the end");
    assert_eq!(shared.take_log(), ["at the end: 0 ready, 0 futures, 0 bodies"]);
}

// R5
#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_ready_after_the_token_came_is_waited_for() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let mut stack = layer_over(TokenCache::new(credentials(), Source::of(hour))).layer(api);
    requests.allow(1);
    let miss = stack.ready().await.unwrap().call(put());
    requests.allow(0);
    let miss = tokio::spawn(miss);
    settle().await;
    assert!(requests.poll_request().is_pending());

    requests.allow(1);
    let (request, reply) = next(&mut requests).await;
    assert_eq!(request.headers()["authorization"], "Bearer token-1");
    let mut rejection = HttpResponse::default();
    *rejection.status_mut() = StatusCode::UNAUTHORIZED;
    reply.send_response(rejection);
    settle().await;
    assert!(requests.poll_request().is_pending(), "the mock allowed one request");

    requests.allow(1);
    let (request, reply) = next(&mut requests).await;
    assert_eq!(request.headers()["authorization"], "Bearer token-2");
    reply.send_response(HttpResponse::default());
    assert_eq!(miss.await.unwrap().unwrap().status(), StatusCode::OK);
}

// R5
#[tokio::test(start_paused = true)]
async fn a_token_that_ages_while_the_service_is_not_ready_is_not_sent() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let source = Source::of(|n| lasting(n, Duration::from_secs(100)));
    let tokens = TokenCache::new(credentials(), source);
    let mut stack = layer_over(tokens.clone()).layer(api);
    requests.allow(1);
    let miss = stack.ready().await.unwrap().call(put());
    requests.allow(0);
    let miss = tokio::spawn(miss);
    settle().await;
    tokio::time::advance(Duration::from_secs(200)).await;
    // Somebody else has fetched another one by now.
    assert_eq!(tokens.get().await.unwrap().secret(), "token-2");
    requests.allow(1);
    let (request, reply) = next(&mut requests).await;
    assert_eq!(request.headers()["authorization"], "Bearer token-2");
    reply.send_response(HttpResponse::default());
    assert_eq!(miss.await.unwrap().unwrap().status(), StatusCode::OK);
}

// R5, R2
#[tokio::test(start_paused = true)]
async fn a_service_that_fails_to_become_ready_for_the_replay_is_the_callers_error() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let (source, mut asked) = mock::pair();
    let mut stack = layer_over(TokenCache::new(credentials(), source)).layer(api);

    let sent = tokio::spawn(stack.ready().await.unwrap().call(put()));
    next(&mut asked).await.1.send_response(hour(1));
    let mut rejection = HttpResponse::default();
    *rejection.status_mut() = StatusCode::UNAUTHORIZED;
    next(&mut requests).await.1.send_response(rejection);
    let (_, reply) = next(&mut asked).await;
    requests.send_error("the connection is gone");
    reply.send_response(hour(2));

    let error = sent.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the connection is gone");
    assert!(TokenError::find_in(&*error).is_none());

    // The token is there for the next request.
    let sent = tokio::spawn(stack.ready().await.unwrap().call(put()));
    let (request, reply) = next(&mut requests).await;
    assert_eq!(request.headers()["authorization"], "Bearer token-2");
    reply.send_response(HttpResponse::default());
    assert!(sent.await.unwrap().is_ok());
}

// R5
#[tokio::test(start_paused = true)]
async fn a_service_that_fails_to_become_ready_after_a_miss_is_the_callers_error() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let (source, mut asked) = mock::pair();
    let mut stack = layer_over(TokenCache::new(credentials(), source)).layer(api);
    let sent = tokio::spawn(stack.ready().await.unwrap().call(put()));
    let (_, reply) = next(&mut asked).await;
    requests.send_error("the connection is gone");
    reply.send_response(hour(1));
    assert_eq!(sent.await.unwrap().unwrap_err().to_string(), "the connection is gone");

    // Before a token is even looked for:
    requests.send_error("gone again");
    assert_eq!(stack.ready().await.unwrap_err().to_string(), "gone again");
}

// R2: beside the two above, an error of the inner service is never dressed up as one of the token.
#[tokio::test(start_paused = true)]
async fn an_error_of_the_replay_itself_is_the_callers_error() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let mut stack = layer_over(TokenCache::new(credentials(), Source::of(hour))).layer(api);
    let sent = tokio::spawn(stack.ready().await.unwrap().call(put()));
    let mut rejection = HttpResponse::default();
    *rejection.status_mut() = StatusCode::UNAUTHORIZED;
    next(&mut requests).await.1.send_response(rejection);
    next(&mut requests).await.1.send_error("reset by peer");
    assert_eq!(sent.await.unwrap().unwrap_err().to_string(), "reset by peer");
}

// R1: it was rejected by somebody else's request in the meantime, and is known to be of no use.
#[tokio::test(start_paused = true)]
async fn a_token_that_is_rejected_while_the_service_is_not_ready_is_not_sent() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let tokens = TokenCache::new(credentials(), Source::of(hour));
    let mut stack = layer_over(tokens.clone()).layer(api);
    requests.allow(1);
    let miss = stack.ready().await.unwrap().call(put());
    requests.allow(0);
    let miss = tokio::spawn(miss);
    settle().await;
    tokens.reject(&tokens.get().await.unwrap());
    requests.allow(1);
    let (request, reply) = next(&mut requests).await;
    assert_eq!(request.headers()["authorization"], "Bearer token-2");
    reply.send_response(HttpResponse::default());
    assert_eq!(miss.await.unwrap().unwrap().status(), StatusCode::OK);
}

// R8: the same before a replay. Sent all the same, it would come back as the answer, and trip the
// breaker of an API that is well.
#[tokio::test(start_paused = true)]
async fn a_token_that_is_rejected_before_its_replay_goes_out_is_not_sent() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let tokens = TokenCache::new(credentials(), Source::of(hour));
    tokens.warm().await.unwrap();
    let mut stack = layer_over(tokens.clone()).layer(api);
    requests.allow(1);
    let sent = tokio::spawn(stack.ready().await.unwrap().call(put()));
    let mut rejection = HttpResponse::default();
    *rejection.status_mut() = StatusCode::UNAUTHORIZED;
    next(&mut requests).await.1.send_response(rejection);
    settle().await;

    let second = tokens.get().await.unwrap();
    assert_eq!(second.secret(), "token-2");
    tokens.reject(&second);
    requests.allow(1);
    let (request, reply) = next(&mut requests).await;
    assert_eq!(request.headers()["authorization"], "Bearer token-3");
    reply.send_response(HttpResponse::default());
    assert_eq!(sent.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_token_error_leaves_the_service_as_it_was() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let source = Source::new(|_, _| async { Err("no".into()) });
    let mut stack = layer_over(TokenCache::new(credentials(), source)).layer(api);
    for _ in 0..3 {
        let error = stack.ready().await.unwrap().call(put()).await.unwrap_err();
        assert_eq!(TokenError::find_in(&*error).unwrap().kind(), TokenErrorKind::Source);
    }
    assert!(requests.poll_request().is_pending());
}
