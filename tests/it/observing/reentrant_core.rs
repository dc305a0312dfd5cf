//! Listeners that call back into the cache at events of refused claims and lost fetches.

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
use tower_oauth2::{CachedToken, Tokens};
use tracing_subscriber::layer::SubscriberExt;

use super::reentrant::{Busy, ends};
use super::{layer, send};
use crate::support::{Api, ScriptedSource, credentials, hour, settle, single_try};

/// Makes a listener reject a token and ask for one at each event.
fn use_cache(busy: &Busy, tokens: &Tokens, token: Option<CachedToken>) {
    let tokens = tokens.clone();
    busy.does(move || {
        if let Some(token) = &token {
            token.reject();
        }
        drop(pin!(tokens.get()).poll(&mut Context::from_waker(Waker::noop())));
    });
}

// O, R7
#[test]
fn a_subscriber_may_use_the_cache_when_claims_are_refused() {
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
        let tokens = Tokens::new(credentials(), single_try(endpoint));
        let token = tokens.get().await.unwrap();
        let claims = BASE64_URL_SAFE_NO_PAD.encode(r#"{"access_token":{"nbf":null}}"#);
        let challenge = format!("Bearer claims=\"{claims}\"");
        let api = Api::new(move |_| {
            let response = Response::builder().status(401).header(WWW_AUTHENTICATE, &challenge);
            response.body(Full::default()).unwrap()
        });
        use_cache(&busy, &tokens, Some(token));
        assert_eq!(send(&layer(&tokens), &api).await, 401, "the request must not fail");
    });
}

/// Starts the first fetch on another runtime, which is not polled after that.
fn start_elsewhere(tokens: &Tokens) -> Runtime {
    let tokens = tokens.clone();
    let thread = std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.unwrap();
        runtime.block_on(async {
            assert!(tokio_test::task::spawn(tokens.get()).poll().is_pending());
            settle().await;
        });
        runtime
    });
    thread.join().unwrap()
}

/// Returns a token for each request except the first.
fn first_hangs() -> ScriptedSource {
    ScriptedSource::new(|n, _| async move {
        if n == 1 {
            std::future::pending::<()>().await;
        }
        Ok(hour(n))
    })
}

/// Drops a runtime on another thread, with this subscriber.
fn drop_elsewhere(runtime: Runtime, busy: &Busy) {
    let subscriber = tracing_subscriber::registry().with(busy.clone());
    let thread = std::thread::spawn(move || {
        tracing::subscriber::with_default(subscriber, || drop(runtime));
    });
    thread.join().unwrap();
}

// O, C3
#[test]
fn a_subscriber_may_use_the_cache_when_a_fetch_is_lost() {
    ends(|busy| async move {
        let tokens = Tokens::new(credentials(), first_hangs());
        let runtime = start_elsewhere(&tokens);
        use_cache(&busy, &tokens, None);
        drop_elsewhere(runtime, &busy);
        assert_eq!(tokens.get().await.unwrap().secret(), "token-2");
    });
}

// O, C3
#[test]
fn a_subscriber_may_use_the_cache_when_a_fetch_is_replaced() {
    ends(|busy| async move {
        let source = first_hangs();
        let tokens = Tokens::new(credentials(), source.clone());
        let runtime = start_elsewhere(&tokens);
        use_cache(&busy, &tokens, None);
        let waited = tokio::time::timeout(Duration::from_secs(60), tokens.get()).await;
        assert_eq!(waited.expect("the caller waits for a token").unwrap().secret(), "token-2");
        assert_eq!(source.count(), 2);
        drop_elsewhere(runtime, &Busy::default());
    });
}

// O, C8
#[test]
fn a_subscriber_that_rejects_every_token_causes_no_endless_loop() {
    ends(|busy| async move {
        let source = ScriptedSource::tokens(hour);
        let tokens = Tokens::new(credentials(), source.clone());
        let heard = tokens.clone();
        busy.does(move || {
            // Rejects each token by hand before the caller that waits for it can run.
            let got = pin!(heard.get()).poll(&mut Context::from_waker(Waker::noop()));
            if let Poll::Ready(Ok(token)) = got {
                token.reject();
            }
        });
        // The result may be a token or an error.
        drop(tokens.get().await);
        assert!(source.count() <= 10, "{} token requests", source.count());
    });
}
