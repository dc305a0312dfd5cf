//! A thousand concurrent callers make one token request, and all of them succeed.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use tokio::sync::Barrier;
use tokio::time::sleep;
use tower::ServiceExt;
use tower_oauth2::{OAuth2, OAuth2Layer, Origins, TokenCache};

use crate::support::*;

const CALLERS: usize = 1000;

/// An API that accepts all tokens except revoked ones.
#[derive(Clone, Default)]
struct Revoked(Arc<Mutex<HashSet<String>>>);

impl Revoked {
    fn revoke(&self, token: &str) {
        self.0.lock().unwrap().insert(token.to_owned());
    }

    fn api(&self) -> Api {
        let revoked = self.0.clone();
        Api::accepting(move |token| !revoked.lock().unwrap().contains(token))
    }
}

/// Creates a source that is slow enough for all callers to arrive while it works.
fn slow() -> ScriptedSource {
    ScriptedSource::new(|n, _| async move {
        settle().await;
        Ok(hour(n))
    })
}

fn stack(source: &ScriptedSource, api: Api) -> OAuth2<Api> {
    let tokens = tokens(source);
    OAuth2Layer::new(tokens, Origins::only(["https://api.test"]).unwrap()).layer(api)
}

fn assert_ok(response: Response<Full<Bytes>>) {
    assert_eq!(response.status(), 200);
}

/// Sends requests of all callers at the same time, on all threads of the runtime.
async fn send_all(service: &OAuth2<Api>) {
    let start = Arc::new(Barrier::new(CALLERS));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (service, start) = (service.clone(), start.clone());
            tokio::spawn(async move {
                start.wait().await;
                service.oneshot(get("/")).await.unwrap()
            })
        })
        .collect();
    for caller in callers {
        assert_ok(caller.await.unwrap());
    }
}

// C2, C8, R1, alf 42, 43
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_start_and_two_revocations_on_two_threads() {
    let (source, revoked) = (slow(), Revoked::default());
    let api = revoked.api();
    let service = stack(&source, api.clone());
    send_all(&service).await;
    assert_eq!((source.count(), api.count()), (1, CALLERS));

    revoked.revoke("token-1");
    send_all(&service).await;
    assert_eq!(source.count(), 2);

    revoked.revoke("token-2");
    send_all(&service).await;
    assert_eq!(source.count(), 3);
    assert_eq!(api.tokens().iter().filter(|token| *token == "token-3").count(), CALLERS);
}

// C2, C5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expiry_on_two_threads_costs_one_token_request() {
    let source = ScriptedSource::new(|n, _| async move {
        settle().await;
        Ok(if n == 1 { lasting(1, ms(300)) } else { hour(n) })
    });
    let tokens = TokenCache::builder(source.clone())
        .renew_ahead(Duration::ZERO)
        .build()
        .tokens(&credentials());
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let tokens = tokens.clone();
            tokio::spawn(async move {
                while tokens.get().await.unwrap().secret() == "token-1" {
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(source.count(), 2);
}

// C2, C6
#[tokio::test(start_paused = true)]
async fn no_caller_waits_at_a_renewal_or_expiry() {
    let source = ScriptedSource::new(|n, _| async move {
        if n > 1 {
            sleep(secs(2)).await;
        }
        Ok(lasting(n, secs(1000)))
    });
    let service = stack(&source, Api::always(200));
    assert_ok(service.clone().oneshot(get("/")).await.unwrap());
    for _ in 0..12_000 {
        let before = tokio::time::Instant::now();
        assert_ok(service.clone().oneshot(get("/")).await.unwrap());
        assert_eq!(before.elapsed(), Duration::ZERO);
        sleep(ms(100)).await;
    }
    assert_eq!(source.count(), 2);
}

// C8, R1
#[tokio::test(start_paused = true)]
async fn rejections_at_different_times_cost_one_token_request() {
    let (source, revoked) = (slow(), Revoked::default());
    let api = revoked.api();
    // The API checks the token at once and responds after a random time.
    let slow_api = tower::service_fn(move |request: http::Request<Full<Bytes>>| {
        let api = api.clone();
        async move {
            let response = api.oneshot(request).await;
            sleep(ms(fastrand::u64(0..300))).await;
            response
        }
    });
    let tokens = tokens(&source);
    let service = OAuth2Layer::new(tokens, Origins::any()).layer(slow_api);
    service.clone().oneshot(get("/")).await.unwrap();
    for revocation in 1..=2 {
        revoked.revoke(&format!("token-{revocation}"));
        let callers: Vec<_> =
            (0..CALLERS).map(|_| tokio::spawn(service.clone().oneshot(get("/")))).collect();
        for caller in callers {
            assert_ok(caller.await.unwrap().unwrap());
        }
        assert_eq!(source.count(), 1 + revocation);
    }
}
