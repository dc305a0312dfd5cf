//! Many credentials with a fetch in flight at once, three times as many as the cache has room for.

use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tower::Service;
use tower_oauth2::{AccessToken, ConfigError, TokenCache, TokenRequest};

use super::DAY;
use super::counted::{Counts, count_calls, measured};
use super::stacks::{credentials, secret};

/// Numbers of credentials that are in flight at once.
pub const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

const NAME: &str = "in-flight-";

/// Counts per credentials.
pub struct PerCredentials {
    /// A lookup that inserts the credentials and starts their fetch.
    pub insert: Counts,
    /// The rest of the fetch, and the release of the credentials.
    pub completion: Counts,
}

/// Counts with `size` credentials in flight. Returns `None` without valgrind.
pub fn count(size: usize) -> Option<PerCredentials> {
    let counts = count_calls(&format!("{NAME}{size}"), 2)?;
    let per_credentials = |n: usize| Counts {
        instructions: counts[n].instructions / size as f64,
        allocations: counts[n].allocations / size as f64,
    };
    Some(PerCredentials { insert: per_credentials(0), completion: per_credentials(1) })
}

/// Returns the size that `case` names, if it is one of these cases.
pub fn size(case: &str) -> Option<usize> {
    case.strip_prefix(NAME)?.parse().ok()
}

/// Puts `size` credentials in flight, then completes their fetches; each is one measured call.
pub fn run(size: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let entered = runtime.enter();
    let source = Gated::default();
    let cache = TokenCache::builder(credentials(0), source.clone()).capacity(size / 3).build();
    let all: Vec<_> = (1..=size).map(credentials).collect();
    let mut callers: Vec<Caller<'_>> = Vec::with_capacity(size);

    measured((), |()| {
        for credentials in &all {
            let mut caller: Caller<'_> = Box::pin(cache.get_for(credentials));
            assert!(poll(&mut caller).is_pending(), "its fetch waits at the gate");
            callers.push(caller);
        }
    });
    wait_until(&runtime, || source.calls.load(Ordering::Relaxed) == size);

    measured((), |()| {
        source.gate.add_permits(size);
        callers.retain_mut(|caller| {
            runtime.block_on(poll_fn(|cx| caller.as_mut().poll(cx))).expect("a token");
            false
        });
        wait_until(&runtime, || runtime.metrics().num_alive_tasks() == 0);
    });
    assert!(cache.others() <= size / 3, "{} are kept", cache.others());
    drop(entered);
}

type Caller<'a> = Pin<Box<dyn Future<Output = Result<AccessToken, tower_oauth2::TokenError>> + 'a>>;

fn poll(caller: &mut Caller<'_>) -> Poll<()> {
    caller.as_mut().poll(&mut Context::from_waker(Waker::noop())).map(|got| drop(black_box(got)))
}

fn wait_until(runtime: &Runtime, is_reached: impl Fn() -> bool) {
    runtime.block_on(async {
        while !is_reached() {
            tokio::task::yield_now().await;
        }
    });
}

/// A source that answers once the gate has a permit for the call.
#[derive(Clone)]
struct Gated {
    gate: Arc<Semaphore>,
    calls: Arc<AtomicUsize>,
}

impl Default for Gated {
    fn default() -> Self {
        Self { gate: Arc::new(Semaphore::new(0)), calls: Arc::default() }
    }
}

impl Service<TokenRequest> for Gated {
    type Response = AccessToken;
    type Error = ConfigError;
    type Future = Pin<Box<dyn Future<Output = Result<AccessToken, ConfigError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConfigError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: TokenRequest) -> Self::Future {
        let Self { gate, calls } = self.clone();
        Box::pin(async move {
            let n = calls.fetch_add(1, Ordering::Relaxed);
            gate.acquire().await.expect("the gate is never closed").forget();
            AccessToken::new(secret(n as u64)).map(|token| token.with_expires_in(DAY))
        })
    }
}
