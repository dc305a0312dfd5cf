//! R8: the cost of APIs that reject tokens, and their effect on other APIs.
//!
//! The unit tests of the breaker simulate more situations, over longer times.

mod contention;
mod figures;
#[cfg(feature = "metrics")]
mod gauge;
mod healing;
mod others;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::{Instant, sleep};
use tower::ServiceExt;
use tower_oauth2::{AccessToken, OAuth2, OAuth2Layer, Origins, TokenRequest, Tokens};

use crate::support::*;

/// One request as an API sees it.
struct Seen<'a> {
    request: &'a Request<Full<Bytes>>,
    /// The number of the token: tokens are called `token-1`, `token-2`, ….
    token: usize,
}

impl Seen<'_> {
    fn path(&self) -> &str {
        self.request.uri().path()
    }

    fn host(&self) -> Option<&str> {
        self.request.uri().host()
    }
}

/// Creates an API that responds with the status `answer` returns. It records nothing, because
/// some tests send millions of requests.
fn api(answer: impl Fn(Seen<'_>) -> u16 + Send + Sync + 'static) -> Api {
    let api = Api::new(move |request| {
        let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.strip_prefix("Bearer token-"));
        let token = token.and_then(|number| number.parse().ok()).unwrap_or_default();
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::from_u16(answer(Seen { request, token })).unwrap();
        response
    });
    api.counting_only()
}

fn api_accepting(accepts: impl Fn(Seen<'_>) -> bool + Send + Sync + 'static) -> Api {
    api(move |seen| if accepts(seen) { 200 } else { 401 })
}

/// A token endpoint that records the times of its requests, and revokes tokens.
#[derive(Clone, Default)]
struct TokenServer {
    times: Arc<Mutex<Vec<Instant>>>,
    revoked_through: Arc<AtomicUsize>,
}

impl TokenServer {
    /// Returns a source whose tokens arrive after `delay`.
    fn source(&self, delay: Duration) -> ScriptedSource {
        let times = self.times.clone();
        ScriptedSource::new(move |n, _: TokenRequest| {
            times.lock().unwrap().push(Instant::now());
            async move {
                if !delay.is_zero() {
                    sleep(delay).await;
                }
                Ok(hour(n))
            }
        })
    }

    /// Revokes all tokens that were issued so far.
    fn revoke(&self) {
        self.revoked_through.store(self.count(), Ordering::SeqCst);
    }

    fn accepts(&self, seen: &Seen<'_>) -> bool {
        seen.token > self.revoked_through.load(Ordering::SeqCst)
    }

    fn count(&self) -> usize {
        self.times.lock().unwrap().len()
    }

    /// Returns the times of the token requests since `start`.
    fn times_since(&self, start: Instant) -> Vec<Duration> {
        self.times.lock().unwrap().iter().map(|at| *at - start).collect()
    }
}

/// Returns the highest number of token requests in any minute.
fn most_in_a_minute(times: &[Duration]) -> usize {
    let from = |first: usize| {
        times[first..].iter().take_while(|at| **at < times[first] + secs(60)).count()
    };
    (0..times.len()).map(from).max().unwrap_or_default()
}

fn layer(source: ScriptedSource) -> OAuth2Layer {
    OAuth2Layer::new(Tokens::new(credentials(), source), Origins::any())
}

fn request(uri: &str) -> Request<Full<Bytes>> {
    Request::get(uri).body(Full::default()).unwrap()
}

/// Sends a request and returns the status of its response.
async fn status(service: &OAuth2<Api>, uri: &str) -> u16 {
    send_request(service, request(uri)).await
}

async fn send_request(service: &OAuth2<Api>, request: Request<Full<Bytes>>) -> u16 {
    service.clone().oneshot(request).await.unwrap().status().as_u16()
}

/// Sends one request after another for `time`. Returns how many responses were not 200.
async fn load(service: &OAuth2<Api>, pause: Duration, time: Duration, uri: &str) -> usize {
    let uri: http::Uri = uri.parse().unwrap();
    let end = Instant::now() + time;
    let mut failed = 0;
    while Instant::now() < end {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = uri.clone();
        failed += usize::from(send_request(service, request).await != 200);
        sleep(pause).await;
    }
    failed
}

/// Returns `true` for one in `n` calls on average.
fn one_in(n: u64) -> impl Fn() -> bool + Send + Sync + 'static {
    let rng = Mutex::new(fastrand::Rng::with_seed(n));
    move || rng.lock().unwrap().u64(0..n) == 0
}
