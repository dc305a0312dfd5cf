//! Consecutive failures of one key, or of the store as a whole.

use std::time::Duration;

use super::Operation;
use crate::util::backoff::Backoff;
use crate::util::clock::Now;

#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// The number of failures in a row.
    count: u32,
    /// The operation that failed last. The trouble lasts until this operation succeeds, because a
    /// store that cannot be written to may still be readable.
    operation: Option<Operation>,
    /// Until then, the store is not asked. By both clocks, because a suspend stretches the time
    /// otherwise (C5).
    until: Option<Now>,
    /// Set while one token request tries the store after a back-off.
    is_tried: bool,
}

impl Trouble {
    /// Returns whether the store is left alone.
    pub(super) fn is_resting(&self, now: Now) -> bool {
        self.until.is_some_and(|until| !now.has_reached(until))
    }

    /// Lets one caller try the store after a back-off, and none besides it for the time of
    /// `deadline`.
    pub(super) fn try_after_rest(&mut self, now: Now, deadline: Duration) {
        if self.until.is_some() {
            self.until = Some(now.shifted_to(now.mono + deadline));
            self.is_tried = true;
        }
    }

    /// Returns whether a success of `operation` is missing.
    pub(super) fn is_about(&self, operation: Operation) -> bool {
        self.operation == Some(operation)
    }

    pub(super) fn is_tried(&self) -> bool {
        self.is_tried
    }

    /// Records a success. Returns whether the trouble is over.
    pub(super) fn succeeded(&mut self, operation: Operation) -> bool {
        if self.is_about(operation) {
            return true;
        }
        if self.is_tried {
            // Let the others ask too, because the store has answered so far.
            self.until = None;
            self.is_tried = false;
        }
        false
    }

    /// Records a failure. Failures of callers that asked at the same time count once. Returns how
    /// long the store is left alone.
    pub(super) fn failed(&mut self, operation: Operation, now: Now, backoff: &Backoff) -> Duration {
        if self.is_tried || !self.is_resting(now) {
            self.count = self.count.saturating_add(1);
            self.operation = Some(operation);
            let window = backoff.window(self.count);
            self.until = Some(now.shifted_to(now.mono + window));
            self.is_tried = false;
        }
        self.until.map_or(Duration::ZERO, |until| now.until(until))
    }
}
