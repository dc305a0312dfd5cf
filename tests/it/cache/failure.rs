//! C9: failures that are remembered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::advance;
use tower::{BoxError, Service, service_fn};
use tower_oauth2::client_auth::{ClientAuthentication, Identity, TokenRequestParts};
use tower_oauth2::source::{Backoff, TokenRetry};
use tower_oauth2::{ClientAuth, Credentials, TokenCache, TokenEndpoint, TokenErrorKind, Tokens};

use crate::support::*;

fn down() -> ScriptedSource {
    ScriptedSource::new(|_, _| async { Err(BoxError::from("down")) })
}

// C9, alf 39
#[tokio::test(start_paused = true)]
async fn a_transient_failure_is_remembered_for_a_growing_time() {
    let source = down();
    let tokens = tokens(&source);
    for failures in 1..=12 {
        let error = tokens.get().await.unwrap_err();
        assert_eq!(source.count(), failures);
        assert_eq!(error.kind(), TokenErrorKind::Source);
        let window = error.retry_in().unwrap();
        let longest = ms(100 << failures).min(secs(10));
        assert!((ms(100)..=longest).contains(&window), "{failures}: {window:?}");

        advance(window / 2).await;
        let remembered = tokens.get().await.unwrap_err();
        assert_eq!(source.count(), failures, "the source was not called");
        assert_eq!(remembered.retry_in().unwrap(), window - window / 2, "the rest of the back-off");
        advance(window - window / 2).await;
    }
}

// C9
#[tokio::test(start_paused = true)]
async fn a_success_resets_the_back_off() {
    let source = ScriptedSource::new(|n, _| async move {
        if n == 6 { Ok(lasting(n, Duration::ZERO)) } else { Err(BoxError::from("down")) }
    });
    let tokens = tokens(&source);
    for _ in 1..=5 {
        advance(tokens.get().await.unwrap_err().retry_in().unwrap()).await;
    }
    secret(&tokens).await;
    let window = tokens.get().await.unwrap_err().retry_in().unwrap();
    assert!(window <= ms(200), "{window:?}");
}

// C9
#[tokio::test(start_paused = true)]
async fn back_off_can_be_switched_off() {
    let source = down();
    let tokens = builder(&source).transient_backoff(Backoff::none()).build().tokens(&credentials());
    for failures in 1..=3 {
        assert_eq!(tokens.get().await.unwrap_err().retry_in(), None);
        assert_eq!(source.count(), failures);
    }
}

/// Creates an endpoint that does not retry.
fn endpoint(http: Http) -> TokenEndpoint {
    TokenEndpoint::new(http).retry(TokenRetry::none())
}

type Http = tower::util::BoxCloneSyncService<Request<Full<Bytes>>, Response<Full<Bytes>>, BoxError>;

/// Creates a client that always returns this response, and counts its calls.
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
        let tokens = Tokens::new(credentials(), endpoint(http));
        for failures in 1..=8 {
            let failure = tokens.get().await.unwrap_err();
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
async fn statuses_of_passing_conditions_are_transient() {
    for status in [408, 429, 500, 502, 503, 504] {
        let (http, _) = http(status, None, "");
        let tokens = Tokens::new(credentials(), endpoint(http));
        let failure = tokens.get().await.unwrap_err();
        assert!(failure.is_transient(), "{status}");
        assert!(failure.retry_in().unwrap() <= ms(200), "{status}");
    }
}

// C9
#[tokio::test(start_paused = true)]
async fn retry_after_is_respected_up_to_a_minute() {
    let in_30_s = httpdate::fmt_http_date(std::time::SystemTime::now() + secs(30));
    let in_30_s: &str = Box::leak(in_30_s.into_boxed_str());
    for (retry_after, longest) in [("30", 30), (in_30_s, 30), ("3600", 60)] {
        let (http, count) = http(503, Some(retry_after), "");
        let tokens = Tokens::new(credentials(), endpoint(http));
        let window = tokens.get().await.unwrap_err().retry_in().unwrap();
        assert!((secs(longest - 2)..=secs(longest)).contains(&window), "{retry_after}: {window:?}");
        advance(window - ms(1)).await;
        tokens.get().await.unwrap_err();
        assert_eq!(count.get(), 1);
        advance(ms(1)).await;
        tokens.get().await.unwrap_err();
        assert_eq!(count.get(), 2);
    }
}

/// A secret that is rotated.
struct Rotating(Arc<AtomicU64>);

impl ClientAuthentication for Rotating {
    fn method(&self) -> &str {
        "client_secret_post"
    }

    fn identify(&self, identity: &mut Identity) {
        identity.part("/run/secrets/api");
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
    let tokens = Tokens::new(credentials.unwrap(), TokenEndpoint::new(http));
    for _ in 0..2 {
        assert_eq!(tokens.get().await.unwrap_err().error_code(), Some("invalid_client"));
    }
    version.store(2, Ordering::Relaxed);
    assert_eq!(tokens.get().await.unwrap().secret(), "t");
}

/// Returns tokens whose only renewal has failed, and whose current token was rejected.
async fn after_a_failed_renewal(retry_after: Option<&'static str>) -> (Tokens, Count) {
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
    let endpoint = TokenEndpoint::new(http).retry(TokenRetry::none());
    let tokens =
        TokenCache::builder(endpoint).transient_backoff(patient).build().tokens(&credentials());
    let token = tokens.get().await.unwrap();
    advance(secs(800)).await;
    tokens.get().await.unwrap();
    settle().await;
    assert_eq!(count.get(), 2);
    token.reject();
    (tokens, count)
}

// C9
#[tokio::test(start_paused = true)]
async fn a_rejection_clears_the_back_off_of_a_failed_renewal() {
    let (tokens, count) = after_a_failed_renewal(None).await;
    tokens.get().await.unwrap();
    assert_eq!(count.get(), 3);
}

// C9
#[tokio::test(start_paused = true)]
async fn a_rejection_does_not_clear_a_retry_after() {
    let (tokens, count) = after_a_failed_renewal(Some("40")).await;
    assert_eq!(tokens.get().await.unwrap_err().status().unwrap(), 503);
    assert_eq!(count.get(), 2);
}

// C3, W7
#[tokio::test(start_paused = true)]
async fn a_source_that_never_answers_times_out() {
    let source = ScriptedSource::new(|_, _| std::future::pending());
    let tokens = builder(&source).fetch_timeout(secs(7)).build().tokens(&credentials());
    let start = tokio::time::Instant::now();
    assert_eq!(tokens.get().await.unwrap_err().kind(), TokenErrorKind::Timeout);
    assert_eq!(start.elapsed(), secs(7));
}
