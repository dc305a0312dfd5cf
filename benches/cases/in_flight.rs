//! A fetch in flight for three times as many credentials as the cache can hold.

use std::future::{Future, ready};
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tower::service_fn;
use tower_oauth2::{AccessToken, CachedToken, TokenCache, TokenRequest};

use super::counted::{Counts, count_calls, measured};
use super::stacks::credentials;

/// Numbers of credentials that are in flight at once.
pub const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

const NAME: &str = "in-flight-";

/// Counts per credentials.
pub struct PerCredentials {
    /// A lookup that inserts the credentials and starts their fetch.
    pub insert: Counts,
    /// The end of the fetch with its runtime, and the release of the credentials.
    pub release: Counts,
}

/// Counts with `size` credentials in flight. Returns `None` without valgrind.
pub fn count(size: usize) -> Option<PerCredentials> {
    let counts = count_calls(&format!("{NAME}{size}"), 2)?;
    let per_credentials = |n: usize| Counts {
        instructions: counts[n].instructions / size as f64,
        allocations: counts[n].allocations / size as f64,
    };
    Some(PerCredentials { insert: per_credentials(0), release: per_credentials(1) })
}

/// Returns the size that `case` names, if it is one of these cases.
pub fn size(case: &str) -> Option<usize> {
    case.strip_prefix(NAME)?.parse().ok()
}

/// Puts `size` credentials in flight, then ends their fetches; each is one measured call.
///
/// The fetch tasks are not polled: their timers would fire again and again under valgrind.
pub fn run(size: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let entered = runtime.enter();
    let source = service_fn(|_: TokenRequest| ready(AccessToken::new("never requested")));
    let cache = TokenCache::builder(source).capacity(size / 3).build();
    let all: Vec<_> = (1..=size).map(credentials).collect();
    let mut callers: Vec<Caller<'_>> = Vec::with_capacity(size);

    measured((), |()| {
        for credentials in &all {
            let mut caller: Caller<'_> = Box::pin({
                let tokens = cache.tokens(credentials);
                async move { tokens.get().await }
            });
            assert!(
                poll(&mut caller).is_pending(),
                "the fetch task is not polled, so the caller waits"
            );
            callers.push(caller);
        }
    });
    assert_eq!(cache.len(), size, "all are in use");

    drop(entered);
    measured((callers, runtime), |(callers, runtime)| {
        drop(callers);
        drop(runtime);
    });
    assert!(cache.len() <= size / 3, "{} are kept", cache.len());
}

type Caller<'a> = Pin<Box<dyn Future<Output = Result<CachedToken, tower_oauth2::TokenError>> + 'a>>;

fn poll(caller: &mut Caller<'_>) -> Poll<()> {
    caller.as_mut().poll(&mut Context::from_waker(Waker::noop())).map(|got| drop(black_box(got)))
}
