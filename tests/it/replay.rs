//! The layer: what is sent, what is sent again, and when it is not.

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
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_oauth2::replay::{NotReplayed, ReplayPolicy, Replayed};
use tower_oauth2::{OAuth2, OAuth2Layer, Origins, TokenCache, TokenError, TokenErrorKind};

use crate::support::*;

fn layer(source: &Source) -> OAuth2Layer {
    OAuth2Layer::new(TokenCache::new(credentials(), source.clone()), Origins::any())
}

/// The same with a token in its cache.
async fn warm_layer(source: &Source) -> OAuth2Layer {
    let cache = TokenCache::new(credentials(), source.clone());
    cache.warm().await.unwrap();
    OAuth2Layer::new(cache, Origins::any())
}

/// An API that takes a while to answer, so that many requests are on their way at once.
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
            sleep(Duration::from_millis(1)).await;
            response.await
        })
    }
}

fn replayed<B>(response: &Response<B>) -> Option<Replayed> {
    response.extensions().get().copied()
}

/// A request with something in every part.
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
async fn a_request_leaves_with_a_token_in_the_place_of_its_own_and_is_else_unchanged() {
    let (source, api) = (Source::of(hour), Api::always(200));
    let response = layer(&source).layer(api.clone()).oneshot(full_request()).await.unwrap();
    assert_same(&api.requests()[0], "token-1");
    assert_eq!(replayed(&response), None, "nothing is said on the ordinary path");
    assert!(response.extensions().is_empty());
}

// R1, R3, R6, alf 32, 34
#[tokio::test(start_paused = true)]
async fn a_rejected_request_is_sent_once_more_whole_with_another_token() {
    for second in [200, 503] {
        let source = Source::of(hour);
        let calls = AtomicUsize::new(0);
        let api = Api::new(move |_| {
            let status = if calls.fetch_add(1, Ordering::Relaxed) == 0 { 401 } else { second };
            Response::builder().status(status).body(Full::from("whatever")).unwrap()
        });
        let response = layer(&source).layer(api.clone()).oneshot(full_request()).await.unwrap();
        assert_eq!(response.status().as_u16(), second, "returned, whatever it is");
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
async fn any_other_status_is_returned_and_the_token_kept() {
    for status in [200, 302, 400, 403, 404, 407, 500, 503] {
        let (source, api) = (Source::of(hour), Api::always(status));
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
async fn when_no_token_can_be_had_for_the_replay_the_error_has_the_first_response() {
    let source = Source::new(|n, _| async move {
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
        let rejected = error.rejected_response().expect("what the API said");
        assert_eq!(rejected.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(rejected.headers()["x-call"], n.to_string(), "each its own");
    }
    assert_eq!((api.count(), source.count()), (2, 2));
}

// R2
#[tokio::test(start_paused = true)]
async fn a_request_that_was_never_sent_has_no_rejected_response() {
    let source = Source::new(|_, _| async { Err(BoxError::from("down")) });
    let api = Api::always(200);
    let error = layer(&source).layer(api.clone()).oneshot(get("/")).await.unwrap_err();
    assert!(TokenError::find_in(&*error).unwrap().rejected_response().is_none());
    assert_eq!(api.count(), 0);
}

// R7
#[tokio::test(start_paused = true)]
async fn what_counts_as_a_rejection_can_be_chosen() {
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
        let source = Source::of(hour);
        let api = Api::new(move |_| {
            Response::builder().status(status).header(header, "").body(Full::default()).unwrap()
        });
        let mut service = layer(&source).replay_policy(policy).layer(api.clone());
        // Once with a miss, once with a hit.
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
async fn a_body_that_can_not_be_given_out_again_is_not_sent_again() {
    /// A body that can be sent once.
    struct Once;
    impl tower_oauth2::replay::ReplayableBody for Once {
        type Kept = ();
        fn keep(&self) {}
        fn replay((): ()) -> Option<Self> {
            None
        }
    }
    let source = Source::of(hour);
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
    assert_eq!(source.count(), 2, "the next request finds another token");
}

// R1
#[tokio::test(start_paused = true)]
async fn a_request_without_our_token_is_never_replayed() {
    let (source, api) = (Source::of(hour), Api::always(401));
    let mut request = get("/");
    request.extensions_mut().insert(tower_oauth2::NoToken);
    let response = layer(&source).layer(api.clone()).oneshot(request).await.unwrap();
    assert_eq!(replayed(&response), None);
    assert_eq!((api.count(), source.count()), (1, 0));
    assert_eq!(api.tokens(), [""]);
}

// R1
#[tokio::test(start_paused = true)]
async fn the_replay_carries_the_token_of_the_credentials_that_the_request_names() {
    let source = Source::of(hour);
    let api = Api::accepting(|token| token == "token-2");
    let mut request = get("/");
    request.extensions_mut().insert(credentials().audience("tenant"));
    let response = layer(&source).layer(api.clone()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(api.tokens(), ["token-1", "token-2"]);
    let audiences = source.requests().iter().all(|request| {
        request.credentials().parameters().iter().any(|(_, value)| value == "tenant")
    });
    assert!(audiences);
}

// R1
#[tokio::test(start_paused = true)]
async fn a_replay_goes_to_the_inner_service_as_it_is_now() {
    let (before, now) = (Api::always(401), Api::always(401));
    let mut service = layer(&Source::of(hour)).layer(before.clone());
    *service.get_mut() = now.clone();
    let response = service.ready().await.unwrap().call(get("/")).await.unwrap();
    assert_eq!(replayed(&response), Some(Replayed::Yes));
    assert_eq!((before.count(), now.count()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn the_token_can_go_into_another_header() {
    let (source, api) = (Source::of(hour), Api::always(200));
    let name = HeaderName::from_static("proxy-authorization");
    let service = layer(&source).header_name(name.clone()).layer(api.clone());
    service.oneshot(full_request()).await.unwrap();
    let sent = &api.requests()[0];
    assert_eq!(sent.headers()[name], "Bearer token-1");
    assert_eq!(sent.headers()["authorization"], "Basic of-the-caller");
}

// C5
#[tokio::test(start_paused = true)]
async fn a_token_that_aged_while_the_service_was_not_ready_is_looked_up_again() {
    let source = Source::of(|n| lasting(n, Duration::from_secs(20)));
    let cache = TokenCache::new(credentials(), source.clone());
    let api = Api::always(200);
    let limit = Arc::new(Semaphore::new(1));
    let mut service = OAuth2Layer::new(cache.clone(), Origins::any())
        .layer(ConcurrencyLimit::with_semaphore(api.clone(), limit.clone()));

    let call = service.ready().await.unwrap().call(get("/"));
    let busy = limit.acquire().await.unwrap();
    let mut call = tokio_test::task::spawn(call);
    assert!(call.poll().is_pending(), "waits for its token");
    settle().await;
    assert!(call.poll().is_pending(), "has its token, and waits for readiness");
    assert_eq!(source.count(), 1);

    advance(Duration::from_secs(60)).await;
    cache.get().await.unwrap();
    drop(busy);
    call.await.unwrap();
    assert_eq!(api.tokens(), ["token-2"]);
}

// C1, C6, C8
#[tokio::test(start_paused = true)]
async fn a_service_that_is_used_again_sees_at_once_that_its_token_is_another() {
    let source = Source::of(|n| lasting(n, Duration::from_secs(1000)));
    let cache = TokenCache::new(credentials(), source.clone());
    let api = Api::always(200);
    let mut service = OAuth2Layer::new(cache.clone(), Origins::any()).layer(api.clone());
    let mut sent = async |times: usize| {
        for _ in 0..times {
            service.ready().await.unwrap().call(get("/")).await.unwrap();
        }
        api.tokens().pop().unwrap()
    };
    assert_eq!(sent(5).await, "token-1");
    cache.reject(&cache.get().await.unwrap());
    assert_eq!(sent(1).await, "token-2", "rejected elsewhere");
    assert_eq!(sent(5).await, "token-2");
    // Due now: the first call starts the renewal, and the token that it brings is the one to use.
    advance(Duration::from_secs(800)).await;
    assert_eq!(sent(1).await, "token-2");
    settle().await;
    assert_eq!(sent(1).await, "token-3", "renewed");
    assert_eq!(sent(5).await, "token-3");
    cache.remove(&credentials());
    assert_eq!(sent(1).await, "token-4", "removed");
    assert_eq!(sent(5).await, "token-4");
    advance(Duration::from_secs(991)).await;
    assert_eq!(sent(1).await, "token-5", "expired");
}

// ---- R8, the breaker ----

/// Calls `service` every 10 ms for `time`, and says how many of the responses were not 200.
async fn load(service: OAuth2<Api>, time: Duration) -> usize {
    let end = Instant::now() + time;
    let mut failed = 0;
    while Instant::now() < end {
        let response = service.clone().oneshot(get("/")).await.unwrap();
        failed += usize::from(response.status() != 200);
        sleep(Duration::from_millis(10)).await;
    }
    failed
}

// R8, alf 35
#[tokio::test(start_paused = true)]
async fn an_api_that_always_refuses_is_not_turned_into_a_flood_of_token_requests() {
    let source = Source::of(hour);
    let broken = Api::always(401);
    let healthy = Api::accepting(|token| token.starts_with("token-"));
    let layer = layer(&source);
    let minute = Duration::from_secs(60);
    let broken_origin = layer.layer(broken.clone());
    let healthy_origin = layer.layer(healthy.clone());
    let other = {
        // Another origin at the same layer, so that the breaker can tell them apart.
        let service = tower::util::MapRequest::new(healthy_origin, |mut request: Request<_>| {
            *request.uri_mut() = "https://healthy.test/".parse().unwrap();
            request
        });
        async move {
            let end = Instant::now() + minute;
            while Instant::now() < end {
                let response = service.clone().oneshot(get("/")).await.unwrap();
                assert_eq!(response.status(), 200);
                assert_eq!(replayed(&response), None, "callers of a healthy API never notice");
                sleep(Duration::from_millis(10)).await;
            }
        }
    };
    let (failed, ()) = tokio::join!(load(broken_origin, minute), other);
    assert_eq!(failed, broken.count() - (source.count() - 1), "each rejection is returned");
    // The first token, then one for each window: 100 ms, 200 ms, ... 3.2 s, 5 s, and once 25 s.
    assert!((12..=16).contains(&source.count()), "{} token requests", source.count());
}

// R8
#[tokio::test(start_paused = true)]
async fn while_the_breaker_is_open_the_rejection_is_returned_and_the_token_stays() {
    let (source, api) = (Source::of(hour), Api::always(401));
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
    // 100 ms, then 200, 400, ... up to 5 s.
    for window in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
        advance(Duration::from_millis(window - 1)).await;
        assert_eq!(replayed(&call().await), Some(Replayed::No(NotReplayed::BreakerOpen)));
        advance(Duration::from_millis(1)).await;
        assert_eq!(replayed(&call().await), Some(Replayed::Yes), "after {window} ms");
    }
}

// R8
#[tokio::test(start_paused = true)]
async fn a_replay_that_succeeds_closes_the_breaker() {
    let source = Source::of(hour);
    // Refuses tokens 1 to 4, then 6, 7.
    let api = Api::accepting(|token| matches!(token, "token-5" | "token-8"));
    let mut service = layer(&source).layer(api.clone());
    let mut call = async || service.ready().await.unwrap().call(get("/")).await.unwrap().status();
    assert_eq!(call().await, 401); // 1, 2; open for 100 ms
    advance(Duration::from_millis(100)).await;
    assert_eq!(call().await, 401); // 3; open for 200 ms
    advance(Duration::from_millis(200)).await;
    assert_eq!(call().await, 401); // 4; open for 400 ms
    advance(Duration::from_millis(400)).await;
    assert_eq!(call().await, 200); // 5; closed
    assert_eq!(source.count(), 5);
    assert_eq!(call().await, 200);
    assert_eq!(source.count(), 5);
}

// R8
#[tokio::test(start_paused = true)]
async fn many_replays_with_one_token_count_once() {
    let (source, api) = (Source::of(hour), Api::always(401));
    let service = warm_layer(&source).await.layer(Delayed(api.clone()));
    let callers: Vec<_> =
        (0..100).map(|_| tokio::spawn(service.clone().oneshot(get("/")))).collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap().status(), 401);
    }
    assert_eq!(source.count(), 2);
    advance(Duration::from_millis(100)).await;
    let response = service.oneshot(get("/")).await.unwrap();
    assert_eq!(replayed(&response), Some(Replayed::Yes), "the window did not double");
}
