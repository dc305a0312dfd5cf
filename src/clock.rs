//! The two clocks that end a token (C5).
//!
//! The monotonic clock may stop while the host is suspended, and the wall clock may be set. A token
//! is over when either clock has reached its end. All code that reads the wall clock reads it here,
//! so that tests can move the two clocks apart.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

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

    /// Returns the reading at another instant, as both clocks would show it without a suspend.
    pub(crate) fn shifted_to(self, mono: Instant) -> Self {
        let wall = if mono >= self.mono {
            self.wall.checked_add(mono.saturating_duration_since(self.mono))
        } else {
            self.wall.checked_sub(self.mono.saturating_duration_since(mono))
        };
        Self { mono, wall: wall.unwrap_or(self.wall) }
    }

    /// Returns the time since an earlier reading, by the clock that has advanced further.
    ///
    /// After a suspend that is the wall clock. A wall clock that was set back does not count.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        let by_mono = self.mono.saturating_duration_since(earlier.mono);
        by_mono.max(self.wall.duration_since(earlier.wall).unwrap_or_default())
    }

    /// Returns whether either clock has reached `end`.
    pub(crate) fn has_reached(self, end: Self) -> bool {
        self.mono >= end.mono || self.wall >= end.wall
    }
}

/// Reads the wall clock.
#[cfg(not(manual_wall_clock))]
#[expect(clippy::disallowed_methods, reason = "the only place that reads the wall clock")]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// Reads a wall clock that tests move by hand (`races/`, `tests/clocks/`).
#[cfg(manual_wall_clock)]
pub(crate) fn wall_clock() -> SystemTime {
    manual_wall_clock::now()
}
