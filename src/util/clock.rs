//! Reads the two clocks that end a token (C5).
//!
//! The monotonic clock may stop while the host is suspended, and the wall clock may be set. A token
//! expires when either clock reaches its end. All code that reads the wall clock reads it here, so
//! that tests can move the two clocks apart.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout};

/// The smallest difference between the clocks that counts as a suspend. Smaller ones come from
/// reading the clocks one after the other, and from a wall clock that is adjusted.
const MIN_SUSPEND: Duration = Duration::from_secs(1);

/// The interval at which a wait looks for a suspend.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// One reading of both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// The clock of `tokio::time`, which tests can pause.
    pub(crate) mono: Instant,
    pub(crate) wall: SystemTime,
}

impl Now {
    /// Reads both clocks.
    pub(crate) fn read() -> Self {
        Self::at(Instant::now())
    }

    /// Adds the present wall clock to a reading of the monotonic clock.
    pub(crate) fn at(mono: Instant) -> Self {
        Self { mono, wall: wall_clock() }
    }

    /// Returns the reading at another instant, if there is no suspend until then.
    pub(crate) fn shifted_to(self, mono: Instant) -> Self {
        let wall = if mono >= self.mono {
            self.wall.checked_add(mono.saturating_duration_since(self.mono))
        } else {
            self.wall.checked_sub(self.mono.saturating_duration_since(mono))
        };
        Self { mono, wall: wall.unwrap_or(self.wall) }
    }

    /// Returns the time since an earlier reading.
    ///
    /// The monotonic clock measures it, or the wall clock after a suspend.
    ///
    /// A wall clock that was set back does not count.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        let by_mono = self.mono.saturating_duration_since(earlier.mono);
        let by_wall = self.wall.duration_since(earlier.wall).unwrap_or_default();
        if by_wall > by_mono + MIN_SUSPEND { by_wall } else { by_mono }
    }

    /// Returns whether the host was suspended since an earlier reading.
    ///
    /// The monotonic clock then stopped while the wall clock went on. A wall clock that was set
    /// forward looks the same.
    fn was_suspended_since(self, earlier: Self) -> bool {
        self.since(earlier) > self.mono.saturating_duration_since(earlier.mono)
    }

    /// Returns the time until `end`, which is zero once either clock has reached it.
    pub(crate) fn remaining_until(self, end: Self) -> Duration {
        if self.has_reached(end) {
            return Duration::ZERO;
        }
        let by_mono = end.mono.saturating_duration_since(self.mono);
        let by_wall = end.wall.duration_since(self.wall).unwrap_or_default();
        if by_wall + MIN_SUSPEND < by_mono { by_wall } else { by_mono }
    }

    /// Returns whether either clock has reached `end`.
    pub(crate) fn has_reached(self, end: Self) -> bool {
        self.mono >= end.mono || self.wall >= end.wall
    }
}

/// Returns whether a test has paused the clock of the current runtime.
#[expect(clippy::disallowed_methods, reason = "compares a paused clock with a running one")]
pub(crate) fn is_paused() -> bool {
    let (paused, running) = (Instant::now(), std::time::Instant::now());
    // One tick of the clock takes less than a microsecond.
    while std::time::Instant::now() == running {
        std::hint::spin_loop();
    }
    Instant::now() == paused
}

/// Polls `work` to its end, but no longer than about `grace` after a suspend.
///
/// Returns `None` if `work` was given up. After a suspend, connections are often dead without a
/// sign of it, and timeouts on the monotonic clock have not advanced.
pub(crate) async fn unless_suspended<T>(
    grace: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = pin!(work);
    let mut last_look = Now::read();
    let mut give_up_at = None;
    loop {
        if let Ok(output) = timeout(LOOK_INTERVAL, work.as_mut()).await {
            return Some(output);
        }
        let now = Now::read();
        if now.was_suspended_since(last_look) {
            give_up_at = Some(now.mono + grace);
        }
        if give_up_at.is_some_and(|at| now.mono >= at) {
            return None;
        }
        last_look = now;
    }
}

/// Reads the wall clock.
#[cfg(not(manual_wall_clock))]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// Reads a wall clock that tests move by hand (`races/`, `tests/clocks/`).
#[cfg(manual_wall_clock)]
pub(crate) fn wall_clock() -> SystemTime {
    manual_wall_clock::now()
}

#[cfg(all(test, not(races)))]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Returns a reading after the two clocks have advanced by different times.
    fn later(now: Now, mono: Duration, wall: Duration) -> Now {
        Now { mono: now.mono + mono, wall: now.wall + wall }
    }

    #[tokio::test]
    async fn a_clock_is_paused_only_where_a_test_says_so() {
        assert!(!is_paused());
        tokio::time::pause();
        assert!(is_paused());
        tokio::time::resume();
        assert!(!is_paused());
    }

    // C5
    #[test]
    fn a_suspend_counts_as_elapsed_time() {
        let start = Now::read();
        let end = start.shifted_to(start.mono + 2 * HOUR);
        let resumed = later(start, HOUR / 2, HOUR);
        assert_eq!((resumed.since(start), resumed.remaining_until(end)), (HOUR, HOUR));
        let resumed = later(start, HOUR / 2, 3 * HOUR);
        assert_eq!(
            (resumed.since(start), resumed.remaining_until(end)),
            (3 * HOUR, Duration::ZERO)
        );
    }

    // C5
    #[test]
    fn small_differences_and_a_clock_set_back_do_not_count() {
        let start = Now::read();
        let end = start.shifted_to(start.mono + 2 * HOUR);
        let adjusted = later(start, HOUR, HOUR + MIN_SUSPEND);
        assert_eq!((adjusted.since(start), adjusted.remaining_until(end)), (HOUR, HOUR));
        let set_back = Now { mono: start.mono + HOUR, wall: start.wall - HOUR };
        assert_eq!((set_back.since(start), set_back.remaining_until(end)), (HOUR, HOUR));
        // The end itself is exact by either clock.
        let ended = later(start, 2 * HOUR - MIN_SUSPEND / 2, 2 * HOUR);
        assert_eq!(ended.remaining_until(end), Duration::ZERO);
    }
}
