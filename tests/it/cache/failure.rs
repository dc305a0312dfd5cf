use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::advance;
use tower::{BoxError, Service, service_fn};
use tower_oauth2::client_auth::{ClientAuthentication, TokenRequestParts};
use tower_oauth2::source::Backoff;
use tower_oauth2::{ClientAuth, Credentials, TokenCache, TokenEndpoint, TokenErrorKind};

use super::{builder, secret, secs};
use crate::support::*;

fn down() -> Source {
    Source::new(|_, _| async { Err(BoxError::from("down")) })
}

// C9, alf 39
#[tokio::test(start_paused = true)]
async fn a_transient_failure_is_remembered_for_a_window_that_grows() {
    let source = down();
    let cache = builder(&source).build();
    for failures in 1..=12 {
        let error = cache.get().await.unwrap_err();
        assert_eq!(source.count(), failures);
        assert_eq!(error.kind(), TokenErrorKind::Source);
        let window = error.retry_in().unwrap();
        let longest = Duration::from_millis(100 << failures).min(secs(10));
        assert!((Duration::from_millis(100)..=longest).contains(&window), "{failures}: {window:?}");

        advance(window / 2).await;
        let remembered = cache.get().await.unwrap_err();
        assert_eq!(source.count(), failures, "nobody was asked");
        assert_eq!(remembered.retry_in().unwrap(), window - window / 2, "what remains");
        advance(window - window / 2).await;
    }
}

// C9
#[tokio::test(start_paused = true)]
async fn a_success_starts_over() {
    let source = Source::new(|n, _| async move {
        if n == 6 { Ok(lasting(n, Duration::ZERO)) } else { Err(BoxError::from("down")) }
    });
    let cache = builder(&source).build();
    for _ in 1..=5 {
        advance(cache.get().await.unwrap_err().retry_in().unwrap()).await;
    }
    secret(&cache).await;
    let window = cache.get().await.unwrap_err().retry_in().unwrap();
    assert!(window <= Duration::from_millis(200), "{window:?}");
}

// C9
#[tokio::test(start_paused = true)]
async fn back_off_can_be_switched_off() {
    let source = down();
    let cache = builder(&source).transient_backoff(Backoff::none()).build();
    for failures in 1..=3 {
        assert_eq!(cache.get().await.unwrap_err().retry_in(), None);
        assert_eq!(source.count(), failures);
    }
}

type Http = tower::util::BoxCloneSyncService<Request<Full<Bytes>>, Response<Full<Bytes>>, BoxError>;

/// Always this answer, and how often it was given.
fn http(status: u16, retry_after: Option<&'static str>, body: &'static str) -> (Http, Count) {
    let count = Count::default();
    let counted = count.clone();
    let service = service_fn(move |_| {
        counted.0.fetch_add(1, Ordering::Relaxed);
        let mut response = Response::builder().status(status);
        if let Some(retry_after) = retry_after {
            response = response.header("retry-after", retry_after);
        }
        std::future::ready(response.body(Full::from(body)).map_err(BoxError::from))
    });
    (Http::new(service), count)
}

#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

// C9
#[tokio::test(start_paused = true)]
async fn a_permanent_failure_is_remembered_longer() {
    for (status, error) in [
        (401, "invalid_client"),
        (400, "unauthorized_client"),
        (400, "invalid_scope"),
        (400, "invalid_target"),
        (400, "unsupported_grant_type"),
        (418, "teapot"),
        (200, "invalid_client"),
    ] {
        let body: &str = Box::leak(format!(r#"{{"error":"{error}"}}"#).into_boxed_str());
        let (http, count) = http(status, None, body);
        let cache = TokenCache::new(credentials(), TokenEndpoint::new(http));
        for failures in 1..=8 {
            let failure = cache.get().await.unwrap_err();
            assert!(!failure.is_transient(), "{error}");
            assert_eq!(count.get(), failures);
            let window = failure.retry_in().unwrap();
            let longest = secs(1 << failures).min(secs(60));
            assert!((secs(1)..=longest).contains(&window), "{error} {failures}: {window:?}");
            advance(window).await;
        }
    }
}

// C9
#[tokio::test(start_paused = true)]
async fn statuses_that_pass_are_transient() {
    for status in [408, 429, 500, 502, 503, 504] {
        let (http, _) = http(status, None, "");
        let cache = TokenCache::new(credentials(), TokenEndpoint::new(http));
        let failure = cache.get().await.unwrap_err();
        assert!(failure.is_transient(), "{status}");
        assert!(failure.retry_in().unwrap() <= Duration::from_millis(200), "{status}");
    }
}

// C9
#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_patience_gets_it_up_to_a_minute() {
    let in_30_s = httpdate::fmt_http_date(std::time::SystemTime::now() + secs(30));
    let in_30_s: &str = Box::leak(in_30_s.into_boxed_str());
    for (retry_after, longest) in [("30", 30), (in_30_s, 30), ("3600", 60)] {
        let (http, count) = http(503, Some(retry_after), "");
        let cache = TokenCache::new(credentials(), TokenEndpoint::new(http));
        let window = cache.get().await.unwrap_err().retry_in().unwrap();
        assert!((secs(longest - 2)..=secs(longest)).contains(&window), "{retry_after}: {window:?}");
        advance(window - Duration::from_millis(1)).await;
        cache.get().await.unwrap_err();
        assert_eq!(count.get(), 1);
        advance(Duration::from_millis(1)).await;
        cache.get().await.unwrap_err();
        assert_eq!(count.get(), 2);
    }
}

/// A secret that somebody rotates.
struct Rotating(Arc<AtomicU64>);

impl ClientAuthentication for Rotating {
    fn method(&self) -> &str {
        "client_secret_post"
    }

    fn identity(&self) -> Vec<u8> {
        b"/run/secrets/api".to_vec()
    }

    fn version(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
        request.set_parameter("client_secret", format!("secret-{}", self.version()));
        Ok(())
    }
}

// C9
#[tokio::test(start_paused = true)]
async fn a_permanent_failure_is_forgotten_when_the_secret_changes() {
    let version = Arc::new(AtomicU64::new(1));
    let credentials =
        Credentials::new("https://auth.test", ClientAuth::custom(Rotating(version.clone())));
    let http = service_fn(|request: Request<Full<Bytes>>| async move {
        use http_body_util::BodyExt;
        let body = request.into_body().collect().await?.to_bytes();
        let (status, answer) = if body.ends_with(b"secret-2") {
            (200, r#"{"access_token":"t"}"#)
        } else {
            (401, r#"{"error":"invalid_client"}"#)
        };
        Ok::<_, BoxError>(Response::builder().status(status).body(Full::<Bytes>::from(answer))?)
    });
    let cache = TokenCache::new(credentials.unwrap(), TokenEndpoint::new(http));
    for _ in 0..2 {
        assert_eq!(cache.get().await.unwrap_err().error_code(), Some("invalid_client"));
    }
    version.store(2, Ordering::Relaxed);
    assert_eq!(cache.get().await.unwrap().secret(), "t");
}

/// Fails for the one renewal; what follows succeeds.
async fn after_a_failed_renewal(retry_after: Option<&'static str>) -> (TokenCache, Count) {
    let (fine, _) = http(200, None, r#"{"access_token":"t","expires_in":1000}"#);
    let (busy, _) = http(503, retry_after, "");
    let count = Count::default();
    let counted = count.clone();
    let http = service_fn(move |request| {
        let mut http = match counted.0.fetch_add(1, Ordering::Relaxed) {
            1 => busy.clone(),
            _ => fine.clone(),
        };
        http.call(request)
    });
    let patient = Backoff::new(secs(50), secs(50));
    let cache = TokenCache::builder(credentials(), TokenEndpoint::new(http))
        .transient_backoff(patient)
        .build();
    let token = cache.get().await.unwrap();
    advance(secs(800)).await;
    cache.get().await.unwrap();
    settle().await;
    assert_eq!(count.get(), 2);
    cache.reject(&token);
    (cache, count)
}

// C9
#[tokio::test(start_paused = true)]
async fn the_window_of_a_failed_renewal_does_not_hold_back_the_fetch_after_a_rejection() {
    let (cache, count) = after_a_failed_renewal(None).await;
    cache.get().await.unwrap();
    assert_eq!(count.get(), 3);
}

// C9
#[tokio::test(start_paused = true)]
async fn unless_the_server_asked_for_it() {
    let (cache, count) = after_a_failed_renewal(Some("40")).await;
    assert_eq!(cache.get().await.unwrap_err().status().unwrap(), 503);
    assert_eq!(count.get(), 2);
}

// C3, W7
#[tokio::test(start_paused = true)]
async fn a_source_that_never_answers_is_not_waited_for_for_ever() {
    let source = Source::new(|_, _| std::future::pending());
    let cache = builder(&source).fetch_timeout(secs(7)).build();
    let start = tokio::time::Instant::now();
    assert_eq!(cache.get().await.unwrap_err().kind(), TokenErrorKind::Timeout);
    assert_eq!(start.elapsed(), secs(7));
}
