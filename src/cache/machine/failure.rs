//! Remembers a failure, and stops counting it without traffic.

use std::time::Duration;

use tokio::time::Instant;

use super::{Events, Machine};
use crate::error::TokenError;
use crate::util::clock::Now;

/// The time after a back-off for which the credentials still count as failing.
///
/// It keeps the gauge from going down and up while callers keep failing.
const FAILING_MARGIN: Duration = Duration::from_secs(60);

/// A failure that callers get until its back-off ends (C9).
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: TokenError,
    /// The end of the back-off by either clock (C5).
    ///
    /// The monotonic clock alone is not usable, because it stops during a suspend.
    pub(super) until: Now,
    /// The version of the credentials that failed. `None` if they were not the cause.
    pub(super) version: Option<u64>,
    pub(super) failed_during: FailedDuring,
    pub(super) counting: Counting,
}

/// Says whether the gauge of failing credentials counts a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counting {
    Counted,
    /// The back-off ended long ago, and no caller has needed a token since then.
    Ended,
}

/// Says whether callers had a token when a fetch failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailedDuring {
    /// There was a usable token, so no caller had to wait.
    Renewal,
    Miss,
}

impl Failure {
    pub(super) fn counts(&self) -> bool {
        self.counting == Counting::Counted
    }
}

impl Machine {
    /// Resets the breaker, and stops counting a failure, once their times have passed (R8).
    ///
    /// The breaker resets after a while without a rejection. A failure counts until its back-off
    /// has ended. Returns when to call this again.
    pub(in crate::cache) fn sweep(&mut self, now: Now) -> (Option<Instant>, Events) {
        let breaker = self.breaker.tick(now.mono);
        let (counts_until, failing_change) = self.sweep_failure(now.mono);
        let next = [self.breaker.resets_at(), counts_until].into_iter().flatten().min();
        (next, Events { breaker, failing_change, ..Events::default() })
    }

    /// Returns until when the failure counts, and the change of the gauge.
    ///
    /// The failure stays known after that. While a fetch runs, it counts, because the fetch may
    /// fail too.
    fn sweep_failure(&mut self, now: Instant) -> (Option<Instant>, i8) {
        let Some(failure) = self.failure.as_mut().filter(|failure| failure.counts()) else {
            return (None, 0);
        };
        let until = failure.until.mono + FAILING_MARGIN;
        if now < until {
            return (Some(until), 0);
        }
        if self.fetch.is_some() {
            return (Some(now + FAILING_MARGIN), 0);
        }
        failure.counting = Counting::Ended;
        (None, -1)
    }
}
