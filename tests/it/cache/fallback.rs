//! C12: a rejected token that has not ended, while no replacement is available.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::{Instant, advance, sleep};
use tower::{BoxError, ServiceExt};
use tower_oauth2::replay::Replayed;
use tower_oauth2::{OAuth2Layer, Origins, RequestExt, TokenError, TokenErrorKind, Tokens};

use crate::support::*;

/// Accepts every token.
const HEALTHY: &str = "healthy.test";
/// Rejects `token-1`.
const STRICT: &str = "strict.test";
/// Rejects `token-1` from the moment that the test chooses.
const LATER: &str = "later.test";

/// One cache and one layer for three origins. The source issues `token-1` and is then down.
struct Outage {
    source: ScriptedSource,
    tokens: Tokens,
    layer: OAuth2Layer,
    api: Api,
    /// Is set when the source works again.
    is_over: Arc<AtomicBool>,
    /// Is set when [`LATER`] rejects `token-1`.
    is_rejected_later: Arc<AtomicBool>,
    /// Says whether requests name the tokens, and the layer has none of its own.
    is_per_request: bool,
}

impl Outage {
    /// Starts with `token-1` in the cache. Each failure of the source takes `delay`.
    async fn new(lifetime: Duration, delay: Duration) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let is_up = is_over.clone();
        let source = ScriptedSource::new(move |n, _| {
            let is_up = is_up.clone();
            async move {
                if n > 1 {
                    sleep(delay).await;
                }
                if n == 1 || is_up.load(Ordering::SeqCst) {
                    Ok(lasting(n, lifetime))
                } else {
                    Err(BoxError::from("down"))
                }
            }
        });
        let tokens = tokens(&source);
        tokens.get().await.unwrap();
        let is_rejected_later = Arc::new(AtomicBool::new(false));
        let rejects = is_rejected_later.clone();
        let api = Api::new(move |request| {
            let is_first = request.headers()["authorization"] == "Bearer token-1";
            let is_rejected = match request.uri().host().unwrap() {
                STRICT => is_first,
                LATER => is_first && rejects.load(Ordering::SeqCst),
                _ => false,
            };
            let status = if is_rejected { 401 } else { 200 };
            Response::builder().status(status).body(Full::default()).unwrap()
        });
        let origins = [HEALTHY, STRICT, LATER].map(|host| format!("https://{host}"));
        let layer = OAuth2Layer::new(tokens.clone(), Origins::only(origins).unwrap());
        Self { source, tokens, layer, api, is_over, is_rejected_later, is_per_request: false }
    }

    /// Creates the outage with a layer whose requests name their tokens.
    async fn per_request() -> Self {
        let outage = Self::lasting_an_hour().await;
        let origins = [HEALTHY, STRICT, LATER].map(|host| format!("https://{host}"));
        let layer = OAuth2Layer::per_request(Origins::only(origins).unwrap());
        Self { layer, is_per_request: true, ..outage }
    }

    async fn lasting_an_hour() -> Self {
        Self::new(secs(3600), Duration::ZERO).await
    }

    async fn send(&self, host: &str) -> Result<Response<Full<Bytes>>, BoxError> {
        let mut request = Request::get(format!("https://{host}/")).body(Full::default()).unwrap();
        if self.is_per_request {
            request = request.tokens(&self.tokens);
        }
        self.layer.layer(self.api.clone()).oneshot(request).await
    }

    /// Checks that a request succeeded and was sent once.
    #[track_caller]
    fn assert_sent(&self, response: Result<Response<Full<Bytes>>, BoxError>) {
        let response = response.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.extensions().get::<Replayed>().is_none(), "sent once");
    }

    async fn get(&self) -> Result<String, TokenError> {
        self.tokens.get().await.map(|token| token.secret().to_owned())
    }

    /// Returns the tokens that a host was sent.
    fn tokens_of(&self, host: &str) -> Vec<String> {
        let requests = self.api.requests();
        let tokens = requests.iter().zip(self.api.tokens());
        let of_host = tokens.filter(|(request, _)| request.uri().host() == Some(host));
        of_host.map(|(_, token)| token).collect()
    }
}

#[track_caller]
fn token_error(result: Result<Response<Full<Bytes>>, BoxError>) -> TokenError {
    TokenError::find_in(&*result.unwrap_err()).expect("a TokenError").clone()
}

// C12
#[tokio::test(start_paused = true)]
async fn one_rejection_leaves_the_token_to_other_origins() {
    for outage in [Outage::lasting_an_hour().await, Outage::per_request().await] {
        for n in 0..600 {
            if n == 300 {
                let error = token_error(outage.send(STRICT).await);
                assert_eq!(error.kind(), TokenErrorKind::Source);
                assert_eq!(error.rejected_response().unwrap().status(), 401);
            }
            let start = Instant::now();
            outage.assert_sent(outage.send(HEALTHY).await);
            assert_eq!(start.elapsed(), Duration::ZERO, "request {n} waits");
            sleep(ms(100)).await;
        }
        assert_eq!(outage.tokens_of(HEALTHY), vec!["token-1"; 600]);
        assert_eq!(outage.tokens_of(STRICT), ["token-1"]);
        // Back-off of up to 10 s, for half a minute.
        let failed = outage.source.count() - 1;
        assert!((4..40).contains(&failed), "{failed} failed token requests");
    }
}

// C12
#[tokio::test(start_paused = true)]
async fn the_origin_that_rejected_the_token_does_not_get_it_again() {
    let outage = Outage::lasting_an_hour().await;
    for _ in 0..20 {
        token_error(outage.send(STRICT).await);
        outage.assert_sent(outage.send(HEALTHY).await);
        sleep(secs(1)).await;
    }
    assert_eq!(outage.tokens_of(STRICT), ["token-1"]);
}

// C12
#[tokio::test(start_paused = true)]
async fn get_does_not_return_a_rejected_token() {
    for outage in [Outage::lasting_an_hour().await, Outage::per_request().await] {
        token_error(outage.send(STRICT).await);
        for _ in 0..100 {
            outage.assert_sent(outage.send(HEALTHY).await);
            assert_eq!(outage.get().await.unwrap_err().kind(), TokenErrorKind::Source);
            sleep(ms(300)).await;
        }
    }
}

// C12
#[tokio::test(start_paused = true)]
async fn all_origins_use_the_new_token_after_the_outage() {
    let outage = Outage::lasting_an_hour().await;
    token_error(outage.send(STRICT).await);
    for _ in 0..60 {
        outage.assert_sent(outage.send(HEALTHY).await);
        sleep(secs(1)).await;
    }
    outage.is_over.store(true, Ordering::SeqCst);
    // The longest back-off is 10 s. The request after it starts the fetch and does not wait.
    advance(secs(10)).await;
    outage.assert_sent(outage.send(HEALTHY).await);
    settle().await;
    let new = format!("token-{}", outage.source.count());
    for host in [HEALTHY, STRICT, LATER] {
        outage.assert_sent(outage.send(host).await);
        assert_eq!(outage.tokens_of(host).last(), Some(&new), "{host}");
    }
    assert_eq!(outage.get().await.unwrap(), new);
}

// C12
#[tokio::test(start_paused = true)]
async fn a_rejection_by_hand_applies_to_all_origins() {
    for is_first in [true, false] {
        let outage = Outage::lasting_an_hour().await;
        let token = outage.tokens.get().await.unwrap();
        if is_first {
            token.reject();
            token_error(outage.send(STRICT).await);
        } else {
            token_error(outage.send(STRICT).await);
            outage.assert_sent(outage.send(HEALTHY).await);
            token.reject();
        }
        let sent = outage.api.count();
        for host in [HEALTHY, LATER, STRICT] {
            token_error(outage.send(host).await);
        }
        assert_eq!(outage.api.count(), sent);
    }
}

// C12, C5
#[tokio::test(start_paused = true)]
async fn a_rejected_token_is_not_sent_after_its_end() {
    // A token of 100 s ends after 90 s.
    let outage = Outage::new(secs(100), Duration::ZERO).await;
    advance(secs(10)).await;
    token_error(outage.send(STRICT).await);
    for _ in 0..79 {
        outage.assert_sent(outage.send(HEALTHY).await);
        advance(secs(1)).await;
    }
    advance(secs(2)).await;
    let sent = outage.api.count();
    for host in [HEALTHY, LATER, STRICT] {
        token_error(outage.send(host).await);
        advance(secs(1)).await;
    }
    assert_eq!(outage.api.count(), sent);
}

// C12
#[tokio::test(start_paused = true)]
async fn no_origin_gets_the_token_after_its_own_later_rejection() {
    let outage = Outage::lasting_an_hour().await;
    token_error(outage.send(STRICT).await);
    outage.assert_sent(outage.send(LATER).await);
    outage.is_rejected_later.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        let error = token_error(outage.send(LATER).await);
        assert_eq!(error.kind(), TokenErrorKind::Source);
        outage.assert_sent(outage.send(HEALTHY).await);
        sleep(secs(1)).await;
    }
    assert_eq!(outage.tokens_of(LATER), ["token-1", "token-1"]);
}

// C12, C2
#[tokio::test(start_paused = true)]
async fn waiters_of_a_failed_fetch_use_the_rejected_token() {
    let outage = Arc::new(Outage::new(secs(3600), secs(5)).await);
    let rejected = tokio::spawn({
        let outage = outage.clone();
        async move { outage.send(STRICT).await }
    });
    settle().await;
    // No failure is known yet, so a replacement may arrive at any moment.
    let start = Instant::now();
    outage.assert_sent(outage.send(HEALTHY).await);
    assert_eq!(start.elapsed(), secs(5), "waits for the first fetch");
    token_error(rejected.await.unwrap());
    // From now on no request to this origin waits, although further fetches run.
    for _ in 0..200 {
        let start = Instant::now();
        outage.assert_sent(outage.send(HEALTHY).await);
        assert_eq!(start.elapsed(), Duration::ZERO);
        sleep(ms(100)).await;
    }
    assert!(outage.source.count() > 3, "fetches go on in the background");
}

// C12, C8
#[tokio::test(start_paused = true)]
async fn without_an_outage_no_other_origin_gets_a_revoked_token() {
    let outage = Outage::lasting_an_hour().await;
    outage.is_rejected_later.store(true, Ordering::SeqCst);
    outage.is_over.store(true, Ordering::SeqCst);
    for host in [STRICT, LATER, HEALTHY] {
        assert_eq!(outage.send(host).await.unwrap().status(), 200);
    }
    assert_eq!(outage.tokens_of(STRICT), ["token-1", "token-2"]);
    assert_eq!(outage.tokens_of(LATER), ["token-2"]);
    assert_eq!(outage.source.count(), 2);
}
