//! R1 to R8: requests that are sent, replayed, or not replayed.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use tokio::sync::Semaphore;
use tokio::time::{Instant, advance, sleep};
use tower::limit::ConcurrencyLimit;
use tower::{BoxError, Service, ServiceExt};
use tower_oauth2::replay::{NotReplayed, ReplayPolicy, Replayed};
use tower_oauth2::{OAuth2, OAuth2Layer, Origins, RequestExt, TokenError, TokenErrorKind};

use crate::support::*;

fn layer(source: &ScriptedSource) -> OAuth2Layer {
    OAuth2Layer::new(tokens(source), Origins::any())
}

/// Creates a layer that has a token.
async fn warm_layer(source: &ScriptedSource) -> OAuth2Layer {
    let tokens = tokens(source);
    tokens.warm().await.unwrap();
    OAuth2Layer::new(tokens, Origins::any())
}

/// An API that takes a while to respond, so that many requests are in flight.
#[derive(Clone)]
struct Delayed(Api);

impl Service<Request<Full<Bytes>>> for Delayed {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let response = self.0.call(request);
        Box::pin(async {
            sleep(ms(1)).await;
            response.await
        })
    }
}

fn replayed<B>(response: &Response<B>) -> Option<Replayed> {
    response.extensions().get().copied()
}

/// Returns a request whose parts all have a value.
fn full_request() -> Request<Full<Bytes>> {
    let mut request = Request::put("https://api.test/things/1?a=b&c=%20")
        .version(Version::HTTP_11)
        .header("content-type", "application/json")
        .header("x-twice", "one")
        .header("x-twice", "two")
        .header("authorization", "Basic of-the-caller")
        .body(Full::from(r#"{"some":"thing"}"#))
        .unwrap();
    request.extensions_mut().insert(17_u32);
    request
}

fn assert_same(sent: &Request<Full<Bytes>>, token: &str) {
    let original = full_request();
    assert_eq!(sent.method(), Method::PUT);
    assert_eq!(sent.uri(), original.uri());
    assert_eq!(sent.version(), original.version());
    assert_eq!(sent.extensions().get::<u32>(), Some(&17));
    let mut expected = original.headers().clone();
    expected.insert("authorization", format!("Bearer {token}").parse().unwrap());
    assert_eq!(sent.headers(), &expected);
    assert_eq!(format!("{:?}", sent.body()), format!("{:?}", original.body()));
}

// alf 10, 11
#[tokio::test(start_paused = true)]
async fn a_token_replaces_the_authorization_header_and_nothing_else() {
    let (source, api) = (ScriptedSource::tokens(hour), Api::always(200));
    let response = layer(&source).layer(api.clone()).oneshot(full_request()).await.unwrap();
    assert_same(&api.requests()[0], "token-1");
    assert_eq!(replayed(&response), None, "not rejected");
    assert!(response.extensions().is_empty());
}

// R1, R3, R6, alf 32, 34
#[tokio::test(start_paused = true)]
async fn a_rejected_request_is_resent_whole_with_another_token() {
    for second in [200, 503] {
        let source = ScriptedSource::tokens(hour);
        let calls = AtomicUsize::new(0);
        let api = Api::new(move |_| {
            let status = if calls.fetch_add(1, Ordering::Relaxed) == 0 { 401 } else { second };
            Response::builder().status(status).body(Full::from("body")).unwrap()
        });
        let response = layer(&source).layer(api.clone()).oneshot(full_request()).await.unwrap();
        assert_eq!(response.status().as_u16(), second, "any second response is returned");
        assert_eq!(replayed(&response), Some(Replayed::Yes));
        let requests = api.requests();
        assert_eq!(requests.len(), 2);
        assert_same(&requests[0], "token-1");
        assert_same(&requests[1], "token-2");
        assert_eq!(source.count(), 2);
    }
}

// R1, alf 33
#[tokio::test(start_paused = true)]
async fn other_statuses_are_returned_and_keep_the_token() {
    for status in [200, 302, 400, 403, 404, 407, 500, 503] {
        let (source, api) = (ScriptedSource::tokens(hour), Api::always(status));
        let mut service = layer(&source).layer(api.clone());
        for _ in 0..2 {
            let response = service.ready().await.unwrap().call(get("/")).await.unwrap();
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(replayed(&response), None);
        }
        assert_eq!((api.count(), source.count()), (2, 1));
    }
}

// R2, C4, alf 37
#[tokio::test(start_paused = true)]
async fn an_error_of_a_replay_has_the_first_response() {
    let source = ScriptedSource::new(|n, _| async move {
        if n == 1 { Ok(hour(1)) } else { Err(BoxError::from("down")) }
    });
    let calls = AtomicUsize::new(0);
    let api = Api::new(move |_| {
        let n = calls.fetch_add(1, Ordering::Relaxed);
        let response = Response::builder().status(401).header("x-call", n);
        response.body(Full::from("no")).unwrap()
    });
    let service = warm_layer(&source).await.layer(Delayed(api.clone()));
    let (one, two) =
        tokio::join!(service.clone().oneshot(get("/")), service.clone().oneshot(get("/")));
    for (n, result) in [one, two].into_iter().enumerate() {
        let error = result.unwrap_err();
        let error = error.downcast_ref::<TokenError>().expect("a TokenError");
        assert_eq!(error.kind(), TokenErrorKind::Source);
        let rejected = error.rejected_response().expect("the first response");
        assert_eq!(rejected.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(rejected.headers()["x-call"], n.to_string(), "its own response");
    }
    assert_eq!((api.count(), source.count()), (2, 2));
}

// R2
#[tokio::test(start_paused = true)]
async fn a_request_that_was_never_sent_has_no_rejected_response() {
    let source = ScriptedSource::new(|_, _| async { Err(BoxError::from("down")) });
    let api = Api::always(200);
    let error = layer(&source).layer(api.clone()).oneshot(get("/")).await.unwrap_err();
    assert!(TokenError::find_in(&*error).unwrap().rejected_response().is_none());
    assert_eq!(api.count(), 0);
}

// R7
#[tokio::test(start_paused = true)]
async fn a_policy_says_which_responses_are_rejections() {
    let with_header = |status: StatusCode, headers: &http::HeaderMap| {
        status == 403 && headers.contains_key("x-expired")
    };
    for (policy, status, header, is_rejection) in [
        (ReplayPolicy::default(), 401, "x-other", true),
        (ReplayPolicy::unauthorized(), 401, "x-other", true),
        (ReplayPolicy::unauthorized(), 419, "x-other", false),
        (ReplayPolicy::statuses([401, 419]), 419, "x-other", true),
        (ReplayPolicy::statuses([419]), 401, "x-other", false),
        (ReplayPolicy::when(with_header), 403, "x-expired", true),
        (ReplayPolicy::when(with_header), 403, "x-other", false),
        (ReplayPolicy::when(with_header), 401, "x-expired", false),
        (ReplayPolicy::never(), 401, "x-expired", false),
    ] {
        let name = format!("{policy:?}, {status}, {header}");
        let source = ScriptedSource::tokens(hour);
        let api = Api::new(move |_| {
            Response::builder().status(status).header(header, "").body(Full::default()).unwrap()
        });
        let mut service = layer(&source).replay_policy(policy).layer(api.clone());
        // The first request is a miss, the second one a hit.
        for sent in [1, 2] {
            let response = service.ready().await.unwrap().call(get("/")).await.unwrap();
            assert_eq!(response.status().as_u16(), status);
            if !is_rejection {
                assert_eq!(api.count(), sent, "{name}");
                assert_eq!(replayed(&response), None, "{name}");
            }
        }
        assert_eq!(source.count() > 1, is_rejection, "{name}");
    }
}

// R6
#[tokio::test(start_paused = true)]
async fn a_body_that_cannot_be_resent_is_not_replayed() {
    /// A body that can be sent once.
    struct Once;
    impl tower_oauth2::replay::ReplayableBody for Once {
        type Kept = ();
        fn keep(&self) {}
        fn replay((): ()) -> Option<Self> {
            None
        }
    }
    let source = ScriptedSource::tokens(hour);
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = seen.clone();
    let api = tower::service_fn(move |_: Request<Once>| {
        counted.fetch_add(1, Ordering::Relaxed);
        let response = Response::builder().status(401).body(());
        std::future::ready(response.map_err(BoxError::from))
    });
    let service = layer(&source).layer(api);
    let response = service.oneshot(get("/").map(|_| Once)).await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(replayed(&response), Some(Replayed::No(NotReplayed::Body)));
    assert_eq!(seen.load(Ordering::Relaxed), 1);
    settle().await;
    assert_eq!(source.count(), 2, "the next request gets another token");
}

// R1
#[tokio::test(start_paused = true)]
async fn a_request_without_our_token_is_never_replayed() {
    let (source, api) = (ScriptedSource::tokens(hour), Api::always(401));
    let request = get("/").no_token();
    let response = layer(&source).layer(api.clone()).oneshot(request).await.unwrap();
    assert_eq!(replayed(&response), None);
    assert_eq!((api.count(), source.count()), (1, 0));
    assert_eq!(api.tokens(), [""]);
}

// R1
#[tokio::test(start_paused = true)]
async fn a_replay_carries_a_token_that_the_request_names() {
    let source = ScriptedSource::tokens(hour);
    let api = Api::accepting(|token| token == "token-2");
    let named = builder(&source).build().tokens(&tenant(1));
    let request = get("/").tokens(&named);
    let response = layer(&source).layer(api.clone()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(api.tokens(), ["token-1", "token-2"]);
    let requests = source.requests();
    assert!(requests.iter().all(|request| *request.credentials() == tenant(1)), "{requests:?}");
}

// R1
#[tokio::test(start_paused = true)]
async fn a_replay_uses_the_current_inner_service() {
    let (before, now) = (Api::always(401), Api::always(401));
    let mut service = layer(&ScriptedSource::tokens(hour)).layer(before.clone());
    *service.get_mut() = now.clone();
    let response = service.ready().await.unwrap().call(get("/")).await.unwrap();
    assert_eq!(replayed(&response), Some(Replayed::Yes));
    assert_eq!((before.count(), now.count()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn the_token_can_go_into_another_header() {
    let (source, api) = (ScriptedSource::tokens(hour), Api::always(200));
    let name = HeaderName::from_static("proxy-authorization");
    let service = layer(&source).header_name(name.clone()).layer(api.clone());
    service.oneshot(full_request()).await.unwrap();
    let sent = &api.requests()[0];
    assert_eq!(sent.headers()[name], "Bearer token-1");
    assert_eq!(sent.headers()["authorization"], "Basic of-the-caller");
}

// C5
#[tokio::test(start_paused = true)]
async fn a_token_is_checked_again_when_the_service_is_ready() {
    let source = ScriptedSource::tokens(|n| lasting(n, secs(20)));
    let tokens = tokens(&source);
    let api = Api::always(200);
    let limit = Arc::new(Semaphore::new(1));
    let mut service = OAuth2Layer::new(tokens.clone(), Origins::any())
        .layer(ConcurrencyLimit::with_semaphore(api.clone(), limit.clone()));

    let call = service.ready().await.unwrap().call(get("/"));
    let busy = limit.acquire().await.unwrap();
    let mut call = tokio_test::task::spawn(call);
    assert!(call.poll().is_pending(), "waits for its token");
    settle().await;
    assert!(call.poll().is_pending(), "has its token, and waits for readiness");
    assert_eq!(source.count(), 1);

    advance(secs(60)).await;
    tokens.get().await.unwrap();
    drop(busy);
    call.await.unwrap();
    assert_eq!(api.tokens(), ["token-2"]);
}

// C1, C6, C8
#[tokio::test(start_paused = true)]
async fn a_reused_service_notices_at_once_that_its_token_changed() {
    let source = ScriptedSource::tokens(|n| lasting(n, secs(1000)));
    let cache = builder(&source).build();
    let tokens = cache.tokens(&credentials());
    let api = Api::always(200);
    let mut service = OAuth2Layer::new(tokens.clone(), Origins::any()).layer(api.clone());
    let mut sent = async |times: usize| {
        for _ in 0..times {
            service.ready().await.unwrap().call(get("/")).await.unwrap();
        }
        api.tokens().pop().unwrap()
    };
    assert_eq!(sent(5).await, "token-1");
    tokens.get().await.unwrap().reject();
    assert_eq!(sent(1).await, "token-2", "rejected elsewhere");
    assert_eq!(sent(5).await, "token-2");
    // The renewal is due: the first call starts it, and later calls use its token.
    advance(secs(800)).await;
    assert_eq!(sent(1).await, "token-2");
    settle().await;
    assert_eq!(sent(1).await, "token-3", "renewed");
    assert_eq!(sent(5).await, "token-3");
    cache.remove(&credentials());
    assert_eq!(sent(1).await, "token-4", "removed");
    assert_eq!(sent(5).await, "token-4");
    advance(secs(991)).await;
    assert_eq!(sent(1).await, "token-5", "expired");
}

// ---- R8, the breaker ----

/// Calls `service` every 10 ms for `time`. Returns how many of the responses were not 200.
async fn load(service: OAuth2<Api>, time: Duration) -> usize {
    let end = Instant::now() + time;
    let mut failed = 0;
    while Instant::now() < end {
        let response = service.clone().oneshot(get("/")).await.unwrap();
        failed += usize::from(response.status() != 200);
        sleep(ms(10)).await;
    }
    failed
}

// R8, alf 35
#[tokio::test(start_paused = true)]
async fn a_broken_api_causes_few_token_requests() {
    let source = ScriptedSource::tokens(hour);
    let broken = Api::always(401);
    let healthy = Api::accepting(|token| token.starts_with("token-"));
    let layer = layer(&source);
    let minute = secs(60);
    let broken_origin = layer.layer(broken.clone());
    let healthy_origin = layer.layer(healthy.clone());
    let other = {
        // The breaker distinguishes origins, so these requests have another one.
        let service = tower::util::MapRequest::new(healthy_origin, |mut request: Request<_>| {
            *request.uri_mut() = "https://healthy.test/".parse().unwrap();
            request
        });
        async move {
            let end = Instant::now() + minute;
            while Instant::now() < end {
                let response = service.clone().oneshot(get("/")).await.unwrap();
                assert_eq!(response.status(), 200);
                assert_eq!(replayed(&response), None, "a healthy API is not affected");
                sleep(ms(10)).await;
            }
        }
    };
    let (failed, ()) = tokio::join!(load(broken_origin, minute), other);
    assert_eq!(failed, broken.count() - (source.count() - 1), "each rejection is returned");
    // One for the start, and one for each window: 100 ms, 200 ms, ... 3.2 s, 5 s, and once 25 s.
    assert!((12..=16).contains(&source.count()), "{} token requests", source.count());
}

// R8
#[tokio::test(start_paused = true)]
async fn an_open_breaker_returns_rejections_and_keeps_the_token() {
    let (source, api) = (ScriptedSource::tokens(hour), Api::always(401));
    let mut service = layer(&source).layer(api.clone());
    let mut call = async || service.ready().await.unwrap().call(get("/")).await.unwrap();
    assert_eq!(replayed(&call().await), Some(Replayed::Yes));
    assert_eq!((api.count(), source.count()), (2, 2));
    for _ in 0..3 {
        let response = call().await;
        assert_eq!(response.status(), 401);
        assert_eq!(replayed(&response), Some(Replayed::No(NotReplayed::BreakerOpen)));
    }
    assert_eq!((api.count(), source.count()), (5, 2));
    assert_eq!(api.tokens()[1..], ["token-2"; 4], "the token of the replay stays");
    // The windows double from 100 ms up to 5 s.
    for window in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
        advance(ms(window - 1)).await;
        assert_eq!(replayed(&call().await), Some(Replayed::No(NotReplayed::BreakerOpen)));
        advance(ms(1)).await;
        assert_eq!(replayed(&call().await), Some(Replayed::Yes), "after {window} ms");
    }
}

// R8
#[tokio::test(start_paused = true)]
async fn a_replay_that_succeeds_does_not_reset_the_breaker() {
    let source = ScriptedSource::tokens(hour);
    let layer = layer(&source);
    let mut service = layer.layer(Api::accepting(|token| token == "token-5"));
    let mut call = async || service.ready().await.unwrap().call(get("/")).await.unwrap();
    // The first call sends tokens 1 and 2. The others replay with the next one.
    for (status, window) in [(401, 100), (401, 200), (401, 400), (200, 800)] {
        let response = call().await;
        assert_eq!(
            (response.status().as_u16(), replayed(&response)),
            (status, Some(Replayed::Yes))
        );
        if window < 800 {
            advance(ms(window)).await;
        }
    }
    assert_eq!(source.count(), 5);

    // This origin has not accepted token 5, so its rejections count only after the window. A reset
    // breaker would count the first one.
    let mut rejecting = layer.layer(Api::always(401));
    let mut reject = async || {
        let request = get("https://rejecting.test/");
        replayed(&rejecting.ready().await.unwrap().call(request).await.unwrap())
    };
    let ignored = Some(Replayed::No(NotReplayed::BreakerOpen));
    assert_eq!(reject().await, ignored);
    advance(ms(799)).await;
    assert_eq!(reject().await, ignored);
    assert_eq!(call().await.status(), 200, "token 5 stays in use");
    assert_eq!(source.count(), 5);
    advance(ms(1)).await;
    assert_eq!(reject().await, Some(Replayed::Yes));
    assert_eq!(source.count(), 6);
    // The next window is twice as long as the one before the successful replay.
    advance(ms(1599)).await;
    assert_eq!(reject().await, ignored);
}

// R8
#[tokio::test(start_paused = true)]
async fn many_replays_with_one_token_count_once() {
    let (source, api) = (ScriptedSource::tokens(hour), Api::always(401));
    let service = warm_layer(&source).await.layer(Delayed(api.clone()));
    let callers: Vec<_> =
        (0..100).map(|_| tokio::spawn(service.clone().oneshot(get("/")))).collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap().status(), 401);
    }
    assert_eq!(source.count(), 2);
    advance(ms(100)).await;
    let response = service.oneshot(get("/")).await.unwrap();
    assert_eq!(replayed(&response), Some(Replayed::Yes), "the window did not double");
}
