//! Leaves a store alone for a while after a failure (S6).

use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout;
use tower::BoxError;

use super::erased::Answer;
use crate::backoff::Backoff;
use crate::clock::Now;
use crate::meter;
use crate::printable::Printable;

/// The store has failed, and its caller continues without it. The trace has the reason.
#[derive(Debug)]
pub(super) struct StoreUnavailable;

#[derive(Debug)]
pub(super) struct Health {
    failures: Mutex<Failures>,
    pub(super) deadline: Duration,
    pub(super) backoff: Backoff,
}

#[derive(Debug, Default)]
struct Failures {
    /// The number of failures in a row.
    count: u32,
    /// The operation that failed last. The store stays in trouble until this operation succeeds,
    /// because a store that cannot be written to may still be readable.
    operation: &'static str,
    /// Until then, nobody asks the store. By both clocks, because a suspend stretches the time
    /// otherwise (C5).
    until: Option<Now>,
    /// Set while one token request tries the store after a back-off.
    is_tried: bool,
}

impl Health {
    pub(super) fn new(deadline: Duration, backoff: Backoff) -> Self {
        Self { failures: Mutex::default(), deadline, backoff }
    }

    /// Returns whether the caller may ask the store.
    ///
    /// After a back-off one caller tries the store, and the others follow once it has succeeded.
    pub(super) fn may_ask(&self) -> bool {
        let mut failures = self.lock();
        let Some(until) = failures.until else {
            return true;
        };
        let now = Now::read();
        let may = now.has_reached(until);
        if may {
            failures.until = Some(now.shifted_to(now.mono + self.deadline));
            failures.is_tried = true;
        }
        may
    }

    /// Waits for an answer of the store until its deadline.
    pub(super) async fn ask<T>(
        &self,
        operation: &'static str,
        answer: Answer<'_, T>,
    ) -> Result<T, StoreUnavailable> {
        let timer = meter::Timer::start();
        match timeout(self.deadline, catch_panic(answer)).await {
            Ok(Ok(answer)) => {
                timer.end_of_store(operation, None);
                self.succeeded(operation);
                Ok(answer)
            }
            Ok(Err(error)) => {
                timer.end_of_store(operation, Some("store"));
                Err(self.failed(operation, ErrorChain(error)))
            }
            Err(_) => {
                timer.end_of_store(operation, Some("timeout"));
                Err(self.failed(operation, "it took too long"))
            }
        }
    }

    fn succeeded(&self, operation: &'static str) {
        let mut failures = self.lock();
        if failures.count > 0 && failures.operation == operation {
            *failures = Failures::default();
            // Emit after unlocking: a subscriber may call back into the store.
            drop(failures);
            tracing::info!("the token store works again");
        } else if failures.is_tried {
            // Let the others ask too, because the store has answered so far.
            failures.until = None;
            failures.is_tried = false;
        }
    }

    fn failed(&self, operation: &'static str, error: impl fmt::Display) -> StoreUnavailable {
        let now = Now::read();
        let mut failures = self.lock();
        // Failures of callers that asked at the same time count once.
        let is_first = failures.until.is_none_or(|until| now.has_reached(until));
        if failures.is_tried || is_first {
            failures.count = failures.count.saturating_add(1);
            failures.operation = operation;
            let window = self.backoff.window(failures.count);
            failures.until = Some(now.shifted_to(now.mono + window));
            failures.is_tried = false;
        }
        let window = failures.until.map_or(Duration::ZERO, |until| now.until(until));
        drop(failures);
        tracing::warn!(
            operation,
            error = %Printable(error),
            ?window,
            "the token store failed; it is left alone for a while"
        );
        StoreUnavailable
    }

    fn lock(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Turns a panic of the store into an error.
async fn catch_panic<T>(mut answer: Answer<'_, T>) -> Result<T, BoxError> {
    poll_fn(|cx| {
        // The future is not polled again after a panic, so it need not be unwind safe.
        let polled = catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx)));
        polled.unwrap_or_else(|_| Poll::Ready(Err("it panicked".into())))
    })
    .await
}

/// Displays an error and its chain of causes.
struct ErrorChain(BoxError);

impl fmt::Display for ErrorChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        // Limit the chain, because a faulty error may be its own cause.
        let sources = std::iter::successors(self.0.source(), |&error| error.source()).take(16);
        sources.into_iter().try_for_each(|error| write!(f, ": {error}"))
    }
}
