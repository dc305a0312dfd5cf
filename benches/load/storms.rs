//! Counts token requests and failed calls when all callers need a token at once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tower::{BoxError, Service, ServiceExt};

use super::issuer::{Api, Issuer};
use crate::cases::by_hand::{Mutexed, RwLocked};
use crate::cases::{Body, DAY, request};
use crate::{now, runtime};

const CALLERS: usize = 1000;
/// The duration of a token request.
const DELAY: Duration = Duration::from_millis(50);

pub const STORMS: [&str; 5] = [
    "1,000 cold callers",
    "expiry under load",
    "1,000 × 401 at once",
    "1,000 × 401 spread over 300 ms",
    "a second revocation after that",
];

/// The result of a storm.
#[derive(Clone, Copy, Default)]
pub struct Outcome {
    pub token_requests: u64,
    pub good: usize,
    pub bad: usize,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.token_requests)?;
        if self.bad > 0 {
            write!(f, ", {} of {} failed", self.bad, self.good + self.bad)?;
        }
        Ok(())
    }
}

/// Returns whether each storm of this crate took one token request and answered all requests.
pub fn run() -> bool {
    let runtime = runtime(2);
    let ours = async |issuer: &Issuer, api| issuer.ours(api, |cache| cache);
    let mutex = async |issuer: &Issuer, api| issuer.by_hand::<Mutexed>(api);
    let rwlock = async |issuer: &Issuer, api| issuer.by_hand::<RwLocked>(api);
    let ours = runtime.block_on(all(ours));
    let mutex = runtime.block_on(all(mutex));
    let rwlock = runtime.block_on(all(rwlock));
    println!("| token requests in a storm | `tower-oauth2` | `Mutex` by hand | `RwLock` by hand |");
    println!("|---|--:|--:|--:|");
    for (n, storm) in STORMS.iter().enumerate() {
        println!("| {storm} | {} | {} | {} |", ours[n], mutex[n], rwlock[n]);
    }
    let is_within = ours.iter().all(|ours| ours.token_requests == 1 && ours.bad == 0);
    let verdict = if is_within { "within" } else { "**OVER**" };
    println!("\n- {verdict}: one token request each, and every request answered with 200");
    is_within
}

/// Runs the storms, each with a new server or the server of the storm before.
pub async fn all<S>(make: impl AsyncFn(&Issuer, Api) -> S) -> [Outcome; STORMS.len()]
where
    S: Service<Request<Body>, Response = http::Response<Body>, Error = BoxError>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let at_once = || Duration::from_millis(5);
    let spread = || Duration::from_micros(fastrand::u64(0..300_000));

    let issuer = Issuer::new(DAY, DELAY);
    let mut cold = storm(&issuer, &make(&issuer, issuer.api(at_once)).await).await;
    // Some crates do not fetch before the first request.
    cold.token_requests = issuer.requests();

    let issuer = Issuer::new(Duration::from_secs(2), DELAY);
    let expiry = under_load(&issuer, &make(&issuer, issuer.api(at_once)).await).await;

    let issuer = Issuer::new(DAY, DELAY);
    let service = make(&issuer, issuer.api(at_once)).await;
    storm(&issuer, &service).await;
    issuer.revoke();
    let revoked = storm(&issuer, &service).await;

    let issuer = Issuer::new(DAY, DELAY);
    let service = make(&issuer, issuer.api(spread)).await;
    storm(&issuer, &service).await;
    issuer.revoke();
    let revoked_spread = storm(&issuer, &service).await;
    issuer.revoke();
    let again = storm(&issuer, &service).await;
    [cold, expiry, revoked, revoked_spread, again]
}

/// Sends one request for each of a thousand callers at the same time.
async fn storm<S>(issuer: &Issuer, service: &S) -> Outcome
where
    S: Service<Request<Body>, Response = http::Response<Body>, Error = BoxError>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let before = issuer.requests();
    let barrier = Arc::new(Barrier::new(CALLERS));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (service, barrier) = (service.clone(), barrier.clone());
        callers.spawn(async move {
            barrier.wait().await;
            is_good(service.oneshot(request()).await)
        });
    }
    let good = callers.join_all().await.into_iter().filter(|is_good| *is_good).count();
    Outcome { token_requests: issuer.requests() - before, good, bad: CALLERS - good }
}

/// Runs callers that never pause while the token is replaced.
async fn under_load<S>(issuer: &Issuer, service: &S) -> Outcome
where
    S: Service<Request<Body>, Response = http::Response<Body>, Error = BoxError>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    is_good(service.clone().oneshot(request()).await);
    let before = issuer.requests();
    // Longer than the life of the first token, and shorter than that of two.
    let end = now() + Duration::from_millis(2500);
    let mut callers = JoinSet::new();
    for _ in 0..64 {
        let service = service.clone();
        callers.spawn(async move {
            let mut outcome = Outcome::default();
            while now() < end {
                match is_good(service.clone().oneshot(request()).await) {
                    true => outcome.good += 1,
                    false => outcome.bad += 1,
                }
            }
            outcome
        });
    }
    let mut all = Outcome::default();
    for outcome in callers.join_all().await {
        all.good += outcome.good;
        all.bad += outcome.bad;
    }
    Outcome { token_requests: issuer.requests() - before, ..all }
}

fn is_good(result: Result<http::Response<Body>, BoxError>) -> bool {
    result.is_ok_and(|response| response.status().is_success())
}
