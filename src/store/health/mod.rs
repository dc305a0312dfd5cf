//! Stops using a store during a back-off after a failure (S6).
//!
//! Health is tracked per key, because a store may consist of several servers, and a server that is
//! down must not affect keys on other servers. When many keys fail and none succeeds, the back-off
//! applies to the whole store, so that a store that is down does not cost one deadline per key.

mod backoff;
mod failures;

use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout;
use tower::BoxError;

use self::failures::{Failures, Recovery, Scope};
use super::ValueNotAccepted;
use super::dyn_store::StoreFuture;
use super::key::StoreKey;
use crate::error::chain;
use crate::metrics;
use crate::util::backoff::Backoff;
use crate::util::clock::Now;
use crate::util::printable::Printable;
use crate::util::sync::LockExt;

/// An operation of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Get,
    Set,
    Replace,
    Lock,
    Unlock,
}

/// The reason why a store operation has no result. Its details are in a tracing event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreError {
    /// The store has failed. The caller continues without it.
    Unavailable,
    /// The store works, but does not accept the value.
    ValueNotAccepted,
}

/// The health of a store, and the settings of its operations.
#[derive(Debug)]
pub(super) struct Health {
    failures: Mutex<Failures>,
    pub(super) deadline: Duration,
    pub(super) backoff: Backoff,
}

impl Health {
    pub(super) fn new(deadline: Duration, backoff: Backoff) -> Self {
        Self { failures: Mutex::default(), deadline, backoff }
    }

    /// Returns whether the caller may use the store for `key`.
    ///
    /// After a back-off one caller tries the store. The others may use it once that one succeeded.
    pub(super) fn may_use(&self, key: &str) -> bool {
        self.lock().may_use(key, Now::read(), self.deadline)
    }

    /// Runs a store operation until its deadline, and records its outcome.
    pub(super) async fn run<T>(
        &self,
        key: &StoreKey,
        operation: Operation,
        answer: StoreFuture<'_, T>,
    ) -> Result<T, StoreError> {
        let timer = metrics::StoreTimer::start();
        let start_event = self.lock().next_event();
        match timeout(self.deadline, catch_panic(answer)).await {
            Ok(Ok(answer)) => {
                timer.finish(operation.name(), None);
                self.succeeded(key, operation);
                Ok(answer)
            }
            Ok(Err(error)) if operation.stores() && ValueNotAccepted::is_in(&*error) => {
                timer.finish(operation.name(), Some("value_not_accepted"));
                self.succeeded(key, operation);
                tracing::warn!(
                    label = key.label_field(),
                    operation = operation.name(),
                    error = %Printable(ErrorChain(error)),
                    "the token store does not accept a value; the token is not shared"
                );
                Err(StoreError::ValueNotAccepted)
            }
            Ok(Err(error)) => {
                timer.finish(operation.name(), Some("store"));
                self.failed(key, (operation, start_event), ErrorChain(error));
                Err(StoreError::Unavailable)
            }
            Err(_) => {
                timer.finish(operation.name(), Some("timeout"));
                self.failed(key, (operation, start_event), "no answer within the deadline");
                Err(StoreError::Unavailable)
            }
        }
    }

    fn succeeded(&self, key: &StoreKey, operation: Operation) {
        let recovery = self.lock().succeeded(key, operation);
        // The event is emitted after unlocking, because a subscriber may call back into the store.
        match recovery {
            None => {}
            Some(Recovery::Key) => {
                tracing::info!(label = key.label_field(), "the token store works again");
            }
            Some(Recovery::Store) => {
                tracing::info!("the token store works again for all credentials");
            }
        }
    }

    fn failed(&self, key: &StoreKey, failed: (Operation, u64), error: impl fmt::Display) {
        let (scope, window) = self.lock().failed(key, failed, Now::read(), &self.backoff);
        let operation = failed.0.name();
        let label = key.label_field();
        match scope {
            Scope::Key => {
                tracing::warn!(
                    label,
                    operation,
                    error = %Printable(error),
                    ?window,
                    "the token store failed; these credentials do not use it during the back-off"
                );
            }
            Scope::Store => {
                tracing::warn!(
                    label,
                    operation,
                    error = %Printable(error),
                    ?window,
                    "the token store failed for many credentials; none uses it during the back-off"
                );
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock_unpoisoned()
    }
}

impl Operation {
    const COUNT: usize = 5;

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Replace => "replace",
            Self::Lock => "lock",
            Self::Unlock => "unlock",
        }
    }

    /// Returns whether the operation stores a value, which the store may refuse.
    fn stores(self) -> bool {
        matches!(self, Self::Set | Self::Replace)
    }
}

/// Turns a panic of the store into an error.
async fn catch_panic<T>(mut answer: StoreFuture<'_, T>) -> Result<T, BoxError> {
    poll_fn(|cx| {
        // The future is not polled again after a panic, so its state after unwinding does not
        // matter.
        let polled = catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx)));
        polled.unwrap_or_else(|_| Poll::Ready(Err("the store panicked".into())))
    })
    .await
}

/// Displays an error and its chain of causes.
struct ErrorChain(BoxError);

impl fmt::Display for ErrorChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        chain(&*self.0).skip(1).try_for_each(|source| write!(f, ": {source}"))
    }
}
