//! Listeners that call back into the cache at the events of refused claims and lost fetches.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::runtime::{Builder, Runtime};
use tower::BoxError;
use tower_oauth2::{AccessToken, TokenCache, TokenEndpoint};
use tracing_subscriber::layer::SubscriberExt;

use super::reentrant::{Busy, ends};
use super::{layer, send};
use crate::support::{Api, Source, credentials, hour, settle};

/// Makes a listener reject a token and ask for one at each event.
fn use_cache(busy: &Busy, cache: &TokenCache, token: Option<AccessToken>) {
    let cache = cache.clone();
    busy.does(move || {
        if let Some(token) = &token {
            cache.reject(token);
        }
        drop(pin!(cache.get()).poll(&mut Context::from_waker(Waker::noop())));
    });
}

// O, R7
#[test]
fn a_listener_may_use_the_cache_when_claims_are_refused() {
    ends(|busy| async move {
        let issued = Arc::new(AtomicUsize::new(0));
        let endpoint = tower::service_fn(move |request: Request<Full<Bytes>>| {
            let issued = issued.clone();
            async move {
                let form = request.into_body().collect().await?.to_bytes();
                let has_claims = form_urlencoded::parse(&form).any(|(name, _)| name == "claims");
                let n = issued.fetch_add(1, Ordering::SeqCst);
                let (status, body) = match has_claims {
                    true => (400, r#"{"error":"invalid_request"}"#.to_owned()),
                    false => (200, format!(r#"{{"access_token":"token-{n}","expires_in":3600}}"#)),
                };
                Ok::<_, BoxError>(
                    Response::builder().status(status).body(Full::<Bytes>::from(body))?,
                )
            }
        });
        let cache = TokenCache::new(credentials(), TokenEndpoint::new(endpoint));
        let token = cache.get().await.unwrap();
        let claims = BASE64_URL_SAFE_NO_PAD.encode(r#"{"access_token":{"nbf":null}}"#);
        let challenge = format!("Bearer claims=\"{claims}\"");
        let api = Api::new(move |_| {
            let response = Response::builder().status(401).header(WWW_AUTHENTICATE, &challenge);
            response.body(Full::default()).unwrap()
        });
        use_cache(&busy, &cache, Some(token));
        assert_eq!(send(&layer(&cache), &api).await, 401, "and no error");
    });
}

/// Starts the first fetch on a runtime of its own, which is not polled after that.
fn start_elsewhere(cache: &TokenCache) -> Runtime {
    let cache = cache.clone();
    let thread = std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.unwrap();
        runtime.block_on(async {
            assert!(tokio_test::task::spawn(cache.get()).poll().is_pending());
            settle().await;
        });
        runtime
    });
    thread.join().unwrap()
}

/// Answers all requests but the first.
fn first_hangs() -> Source {
    Source::new(|n, _| async move {
        if n == 1 {
            std::future::pending::<()>().await;
        }
        Ok(hour(n))
    })
}

/// Drops a runtime on a thread of its own, whose events this listener hears.
fn drop_elsewhere(runtime: Runtime, busy: &Busy) {
    let subscriber = tracing_subscriber::registry().with(busy.clone());
    let thread = std::thread::spawn(move || {
        tracing::subscriber::with_default(subscriber, || drop(runtime));
    });
    thread.join().unwrap();
}

// O, C3
#[test]
fn a_listener_may_use_the_cache_when_a_fetch_is_lost() {
    ends(|busy| async move {
        let cache = TokenCache::new(credentials(), first_hangs());
        let runtime = start_elsewhere(&cache);
        use_cache(&busy, &cache, None);
        drop_elsewhere(runtime, &busy);
        assert_eq!(cache.get().await.unwrap().secret(), "token-2");
    });
}

// O, C3
#[test]
fn a_listener_may_use_the_cache_when_a_fetch_is_presumed_dead() {
    ends(|busy| async move {
        let source = first_hangs();
        let cache = TokenCache::new(credentials(), source.clone());
        let runtime = start_elsewhere(&cache);
        use_cache(&busy, &cache, None);
        let waited = tokio::time::timeout(Duration::from_secs(60), cache.get()).await;
        assert_eq!(waited.expect("waits without end").unwrap().secret(), "token-2");
        assert_eq!(source.count(), 2);
        drop_elsewhere(runtime, &Busy::default());
    });
}

// O, C8
#[test]
fn a_listener_that_rejects_every_token_does_not_make_a_caller_spin() {
    ends(|busy| async move {
        let source = Source::of(hour);
        let cache = TokenCache::new(credentials(), source.clone());
        let heard = cache.clone();
        busy.does(move || {
            // Rejects each token by hand before the caller that waits for it can run.
            let got = pin!(heard.get()).poll(&mut Context::from_waker(Waker::noop()));
            if let Poll::Ready(Ok(token)) = got {
                heard.reject(&token);
            }
        });
        // Whether this ends with a token or with an error is not the point.
        drop(cache.get().await);
        assert!(source.count() <= 10, "{} token requests", source.count());
    });
}
