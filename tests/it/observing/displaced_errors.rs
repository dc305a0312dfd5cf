//! Errors of a source whose `Drop` calls back into the cache.
//!
//! The cache must not drop them under a lock: the tests then wait for a lock without end.

use std::error::Error;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{advance, sleep};
use tower::BoxError;
use tower_oauth2::{CachedToken, TokenCache, Tokens};

use super::reentrant::ends;
use crate::support::{ScriptedSource, credentials, lasting, settle};

/// State that the errors of one test share.
#[derive(Default)]
struct CallBack {
    tokens: OnceLock<Tokens>,
    token: OnceLock<CachedToken>,
    is_dropping: AtomicBool,
    dropped: AtomicUsize,
}

/// Uses the cache when it is dropped.
struct Reentrant(Arc<CallBack>);

impl Drop for Reentrant {
    fn drop(&mut self) {
        let call_back = &*self.0;
        // Errors that are dropped by these calls do not call back again.
        if call_back.is_dropping.swap(true, Ordering::SeqCst) {
            return;
        }
        if let Some(tokens) = call_back.tokens.get() {
            drop(pin!(tokens.get()).poll(&mut Context::from_waker(Waker::noop())));
            if let Some(token) = call_back.token.get() {
                token.reject();
            }
        }
        call_back.is_dropping.store(false, Ordering::SeqCst);
        call_back.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

impl fmt::Debug for Reentrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reentrant")
    }
}

impl fmt::Display for Reentrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("down")
    }
}

impl Error for Reentrant {}

/// A cache whose source fails with a [`Reentrant`] error.
struct Setup {
    cache: TokenCache,
    tokens: Tokens,
    source: ScriptedSource,
    call_back: Arc<CallBack>,
    /// The second request waits for a permit.
    gate: Arc<Semaphore>,
}

impl Setup {
    fn new(fails: impl Fn(usize) -> bool + Send + Sync + 'static) -> Self {
        let call_back = Arc::new(CallBack::default());
        let gate = Arc::new(Semaphore::new(0));
        let (errors, permits) = (call_back.clone(), gate.clone());
        let source = ScriptedSource::new(move |n, _| {
            let (error, permits) = (fails(n).then(|| Reentrant(errors.clone())), permits.clone());
            async move {
                if n == 2 {
                    permits.acquire().await?.forget();
                }
                match error {
                    Some(error) => Err(BoxError::from(error)),
                    None => Ok(lasting(n, Duration::from_secs(1000))),
                }
            }
        });
        let cache = TokenCache::new(source.clone());
        let tokens = cache.tokens(&credentials());
        call_back.tokens.set(tokens.clone()).unwrap();
        Self { cache, tokens, source, call_back, gate }
    }

    /// Fetches the first token, which the errors reject, and starts its renewal.
    async fn renewing(fails: impl Fn(usize) -> bool + Send + Sync + 'static) -> Self {
        let setup = Self::new(fails);
        let token = setup.tokens.get().await.unwrap();
        setup.call_back.token.set(token).unwrap();
        advance(Duration::from_secs(801)).await;
        setup.tokens.get().await.unwrap();
        settle().await;
        assert_eq!(setup.source.count(), 2);
        setup
    }

    fn dropped(&self) -> usize {
        self.call_back.dropped.load(Ordering::SeqCst)
    }

    /// Checks that the cache still works.
    async fn assert_usable(self) {
        sleep(Duration::from_secs(60)).await;
        self.tokens.get().await.unwrap();
    }
}

// C9
#[test]
fn an_error_may_use_the_cache_when_the_next_one_displaces_it() {
    ends(|_| async {
        let setup = Setup::new(|n| n <= 4);
        setup.gate.add_permits(1);
        for n in 1..=4 {
            assert!(setup.tokens.get().await.is_err());
            assert_eq!(setup.dropped(), n - 1);
            advance(Duration::from_secs(10)).await;
        }
        setup.assert_usable().await;
    });
}

// C9
#[test]
fn an_error_may_use_the_cache_when_a_token_displaces_it() {
    ends(|_| async {
        let setup = Setup::new(|n| n == 1);
        setup.gate.add_permits(1);
        assert!(setup.tokens.get().await.is_err());
        advance(Duration::from_secs(10)).await;
        setup.tokens.get().await.unwrap();
        settle().await;
        assert_eq!(setup.dropped(), 1);
        setup.assert_usable().await;
    });
}

// C8, C9
#[test]
fn an_error_may_use_the_cache_when_its_fetch_is_retried() {
    ends(|_| async {
        let setup = Setup::renewing(|n| n == 2).await;
        // The renewal fails after the rejection, so that another fetch follows at once.
        setup.call_back.token.get().unwrap().reject();
        setup.gate.add_permits(1);
        assert_eq!(setup.tokens.get().await.unwrap().secret(), "token-3");
        assert_eq!(setup.dropped(), 1);
        setup.assert_usable().await;
    });
}

// C9
#[test]
fn an_error_may_use_the_cache_when_its_token_ended_before() {
    ends(|_| async {
        let setup = Setup::renewing(|n| n == 2).await;
        advance(Duration::from_secs(200)).await;
        let waiter = tokio::spawn({
            let tokens = setup.tokens.clone();
            async move { tokens.get().await }
        });
        settle().await;
        setup.gate.add_permits(1);
        // Another token request follows for the waiting caller.
        assert_eq!(waiter.await.unwrap().unwrap().secret(), "token-3");
        settle().await;
        assert_eq!(setup.dropped(), 1);
        setup.assert_usable().await;
    });
}

// C8, C9
#[test]
fn an_error_may_use_the_cache_when_a_rejection_displaces_it() {
    ends(|_| async {
        let setup = Setup::renewing(|n| n == 2).await;
        setup.gate.add_permits(1);
        settle().await;
        // The failure of the renewal is kept until the rejection.
        assert_eq!(setup.dropped(), 0);
        setup.call_back.token.get().unwrap().reject();
        assert_eq!(setup.dropped(), 1);
        setup.assert_usable().await;
    });
}

// C9, C10
#[test]
fn an_error_may_use_the_cache_when_its_credentials_are_removed() {
    ends(|_| async {
        let setup = Setup::renewing(|n| n == 2).await;
        // Once while the failure is kept, and once while the fetch is running.
        setup.gate.add_permits(1);
        settle().await;
        setup.cache.remove(&credentials());
        assert_eq!(setup.dropped(), 1);
        setup.assert_usable().await;

        let setup = Setup::renewing(|n| n == 2).await;
        setup.cache.remove(&credentials());
        setup.gate.add_permits(1);
        settle().await;
        assert_eq!(setup.dropped(), 1, "no caller waits for the renewal");
        setup.assert_usable().await;
    });
}

// C9, C10
#[test]
fn an_error_may_use_the_cache_when_its_credentials_are_evicted() {
    ends(|_| async {
        let call_back = Arc::new(CallBack::default());
        let errors = call_back.clone();
        let source = ScriptedSource::new(move |n, _| {
            let error = (n <= 10).then(|| Reentrant(errors.clone()));
            async move {
                match error {
                    Some(error) => Err(BoxError::from(error)),
                    None => Ok(lasting(n, Duration::from_secs(1000))),
                }
            }
        });
        let cache = TokenCache::builder(source).capacity(1).build();
        let tokens = cache.tokens(&credentials());
        call_back.tokens.set(tokens.clone()).unwrap();
        for n in 0..20 {
            let tenant = credentials().audience(n.to_string());
            drop(cache.tokens(&tenant).get().await);
            advance(Duration::from_millis(10)).await;
        }
        assert!(call_back.dropped.load(Ordering::SeqCst) >= 8, "most of them were evicted");
        // The errors have used these tokens, so a failure of theirs may be remembered.
        advance(Duration::from_secs(10)).await;
        tokens.get().await.unwrap();
    });
}
