//! Computes the back-off after consecutive failures of a key or the whole store.

use std::time::Duration;

use super::Operation;
use crate::util::backoff::Backoff;
use crate::util::clock::Now;

#[derive(Debug, Default)]
pub(super) struct FailureBackoff {
    /// The number of failures in a row.
    count: u32,
    /// The operation that failed last.
    ///
    /// The failure lasts until this operation succeeds, because a read-only store still answers
    /// reads.
    operation: Option<Operation>,
    /// The end of the back-off, by both clocks (C5).
    ///
    /// A suspend would otherwise prolong it.
    until: Option<Now>,
    /// Says whether one token request is trying the store after a back-off.
    is_on_trial: bool,
}

impl FailureBackoff {
    /// Returns whether the back-off has not ended yet.
    pub(super) fn is_backing_off(&self, now: Now) -> bool {
        self.until.is_some_and(|until| !now.has_reached(until))
    }

    /// Lets one caller try the store after a back-off, and keeps others away for `deadline`.
    pub(super) fn start_trial(&mut self, now: Now, deadline: Duration) {
        if self.until.is_some() {
            self.until = Some(now.shifted_to(now.mono + deadline));
            self.is_on_trial = true;
        }
    }

    /// Returns whether the failure lasts until `operation` succeeds.
    pub(super) fn waits_for(&self, operation: Operation) -> bool {
        self.operation == Some(operation)
    }

    pub(super) fn is_on_trial(&self) -> bool {
        self.is_on_trial
    }

    /// Records a success. Returns whether the failure has ended.
    pub(super) fn succeeded(&mut self, operation: Operation) -> bool {
        if self.waits_for(operation) {
            return true;
        }
        if self.is_on_trial {
            // Let other callers use the store too, because it has answered so far.
            self.until = None;
            self.is_on_trial = false;
        }
        false
    }

    /// Records a failure and returns the remaining back-off.
    ///
    /// Failures of concurrent callers count once.
    pub(super) fn failed(&mut self, operation: Operation, now: Now, backoff: &Backoff) -> Duration {
        if self.is_on_trial || !self.is_backing_off(now) {
            self.count = self.count.saturating_add(1);
            self.operation = Some(operation);
            let window = backoff.window(self.count);
            self.until = Some(now.shifted_to(now.mono + window));
            self.is_on_trial = false;
        }
        self.until.map_or(Duration::ZERO, |until| now.remaining_until(until))
    }
}
