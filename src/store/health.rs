//! A store that is in trouble is left alone for a while.

use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tower::BoxError;

use super::erased::Answer;
use crate::backoff::Backoff;
use crate::meter;

/// Asked for in the place of the answer, when there is none to be had. What went wrong is in the
/// trace.
#[derive(Debug)]
pub(super) struct Trouble;

#[derive(Debug)]
pub(super) struct Health {
    state: Mutex<State>,
    pub(super) deadline: Duration,
    pub(super) backoff: Backoff,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// The operation that failed last. Until that one works again the store does not, whatever else it answers: one
    /// that can not be written to is still read.
    failed: &'static str,
    /// Until then nobody asks.
    until: Option<Instant>,
    /// After a time of rest, one asks.
    is_tried: bool,
}

impl Health {
    pub(super) fn new(deadline: Duration, backoff: Backoff) -> Self {
        Self { state: Mutex::default(), deadline, backoff }
    }

    /// Whether the store is to be asked. After a time of rest one goes ahead, and the others
    /// follow when it has come through.
    pub(super) fn may_ask(&self) -> bool {
        let mut state = self.lock();
        let Some(until) = state.until else {
            return true;
        };
        let now = Instant::now();
        let may = now >= until;
        if may {
            state.until = Some(now + self.deadline);
            state.is_tried = true;
        }
        may
    }

    /// The answer, if it comes in time.
    pub(super) async fn ask<T>(
        &self,
        operation: &'static str,
        answer: Answer<'_, T>,
    ) -> Result<T, Trouble> {
        let timer = meter::Timer::start();
        match timeout(self.deadline, caught(answer)).await {
            Ok(Ok(answer)) => {
                timer.end_of_store(operation, None);
                self.succeeded(operation);
                Ok(answer)
            }
            Ok(Err(error)) => {
                timer.end_of_store(operation, Some("store"));
                Err(self.failed(operation, Text(error)))
            }
            Err(_) => {
                timer.end_of_store(operation, Some("timeout"));
                Err(self.failed(operation, "it took too long"))
            }
        }
    }

    fn succeeded(&self, operation: &'static str) {
        let mut state = self.lock();
        if state.failures > 0 && state.failed == operation {
            *state = State::default();
            // Not under the lock: whoever listens may come back here.
            drop(state);
            tracing::info!("the token store works again");
        } else if state.is_tried {
            // It has come through so far.
            state.until = None;
            state.is_tried = false;
        }
    }

    fn failed(&self, operation: &'static str, error: impl fmt::Display) -> Trouble {
        let now = Instant::now();
        let mut state = self.lock();
        // Those who asked together count once.
        if state.is_tried || state.until.is_none_or(|until| until <= now) {
            state.failures = state.failures.saturating_add(1);
            state.failed = operation;
            state.until = Some(now + self.backoff.window(state.failures));
            state.is_tried = false;
        }
        let window = state.until.unwrap_or(now).duration_since(now);
        drop(state);
        tracing::warn!(
            operation,
            %error,
            ?window,
            "the token store failed; it is left alone for a while"
        );
        Trouble
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A store's bug is a failure as any other is.
async fn caught<T>(mut answer: Answer<'_, T>) -> Result<T, BoxError> {
    poll_fn(|cx| {
        // It is not polled again after that.
        let polled = catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx)));
        polled.unwrap_or_else(|_| Poll::Ready(Err("it panicked".into())))
    })
    .await
}

/// The text of an error and of what it came from.
struct Text(BoxError);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        // A chain that is longer than any sane one ends early.
        let sources = std::iter::successors(self.0.source(), |&error| error.source()).take(16);
        sources.into_iter().try_for_each(|error| write!(f, ": {error}"))
    }
}
