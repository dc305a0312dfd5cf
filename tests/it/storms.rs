//! A thousand at once: exactly one token request each time, and every caller is answered with 200.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use tokio::sync::Barrier;
use tokio::time::sleep;
use tower::{Layer, ServiceExt};
use tower_oauth2::{OAuth2, OAuth2Layer, Origins, TokenCache};

use crate::support::*;

const CALLERS: usize = 1000;

/// An API that takes every token but the revoked ones.
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

/// A source that takes its time, so that all callers come while it works.
fn slow() -> Source {
    Source::new(|n, _| async move {
        settle().await;
        Ok(hour(n))
    })
}

fn stack(source: &Source, api: Api) -> OAuth2<Api> {
    let cache = TokenCache::new(credentials(), source.clone());
    OAuth2Layer::new(cache, Origins::only(["https://api.test"]).unwrap()).layer(api)
}

fn assert_ok(response: Response<Full<Bytes>>) {
    assert_eq!(response.status(), 200);
}

/// All callers at once, on as many threads as the runtime has.
async fn storm(service: &OAuth2<Api>) {
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
async fn cold_then_revoked_then_revoked_again_on_two_threads() {
    let (source, revoked) = (slow(), Revoked::default());
    let api = revoked.api();
    let service = stack(&source, api.clone());
    storm(&service).await;
    assert_eq!((source.count(), api.count()), (1, CALLERS));

    revoked.revoke("token-1");
    storm(&service).await;
    assert_eq!(source.count(), 2);

    // After the replays of the first.
    revoked.revoke("token-2");
    storm(&service).await;
    assert_eq!(source.count(), 3);
    assert_eq!(api.tokens().iter().filter(|token| *token == "token-3").count(), CALLERS);
}

// C2, C5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_expiry_on_two_threads() {
    let source = Source::new(|n, _| async move {
        settle().await;
        Ok(if n == 1 { lasting(1, Duration::from_millis(300)) } else { hour(n) })
    });
    let cache =
        TokenCache::builder(credentials(), source.clone()).renew_ahead(Duration::ZERO).build();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move {
                while cache.get().await.unwrap().secret() == "token-1" {
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
async fn at_renewal_and_at_expiry_nobody_waits_under_steady_load() {
    let source = Source::new(|n, _| async move {
        if n > 1 {
            sleep(Duration::from_secs(2)).await;
        }
        Ok(lasting(n, Duration::from_secs(1000)))
    });
    let service = stack(&source, Api::always(200));
    assert_ok(service.clone().oneshot(get("/")).await.unwrap());
    for _ in 0..12_000 {
        let before = tokio::time::Instant::now();
        assert_ok(service.clone().oneshot(get("/")).await.unwrap());
        assert_eq!(before.elapsed(), Duration::ZERO);
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(source.count(), 2);
}

// C8, R1
#[tokio::test(start_paused = true)]
async fn rejections_spread_over_a_third_of_a_second_cost_one_token_request() {
    let (source, revoked) = (slow(), Revoked::default());
    let api = revoked.api();
    // The API looks at the token at once and answers when it pleases.
    let slow_api = tower::service_fn(move |request: http::Request<Full<Bytes>>| {
        let api = api.clone();
        async move {
            let response = api.oneshot(request).await;
            sleep(Duration::from_millis(fastrand::u64(0..300))).await;
            response
        }
    });
    let cache = TokenCache::new(credentials(), source.clone());
    let service = OAuth2Layer::new(cache, Origins::any()).layer(slow_api);
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
