use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Body, Frame};
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_oauth2::TokenCache;
use tower_oauth2::replay::Replayed;

use super::{HttpRequest, layer_over, put};
use crate::support::{Source, credentials, hour, settle};

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
        asked.say("token is requested");
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
            "token is requested: 0 ready, 0 futures, 0 bodies",
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
            "token is requested: 0 ready, 0 futures, 0 bodies",
            "token is here: 0 ready, 0 futures, 0 bodies",
            "made ready: 1 ready, 0 futures, 0 bodies",
            "called: 0 ready, 1 futures, 0 bodies",
        ]
    );
    drop(response);
    shared.say("at the end");
    assert_eq!(shared.take_log(), ["at the end: 0 ready, 0 futures, 0 bodies"]);
}
