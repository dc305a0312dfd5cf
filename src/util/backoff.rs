//! Computes pauses after failures.

use std::time::Duration;

use crate::util::jitter;
use crate::util::limits::MAX_LIFETIME;

/// Says how long to pause after failures of a source or a store.
///
/// After the first failure, the pause is drawn uniformly between [`min`](Self::new) and twice
/// `min`. Each further failure doubles the upper end, up to [`max`](Self::new). The draw keeps the
/// processes of a fleet from retrying in step. A success resets the pause.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower_oauth2::source::Backoff;
///
/// let patient = Backoff::new(Duration::from_secs(1), Duration::from_secs(120));
/// let off = Backoff::none();
/// # let _ = (patient, off);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
}

impl Backoff {
    /// Creates pauses from `min` up to `max`.
    ///
    /// The maximum is a year. A `max` below `min` counts as `min`.
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self { min: limit(min), max: limit(max) }
    }

    /// Creates a back-off without pauses, so the next caller tries again.
    pub const fn none() -> Self {
        Self::new(Duration::ZERO, Duration::ZERO)
    }

    /// Returns the pause after `failures` in a row.
    pub(crate) fn window(&self, failures: u32) -> Duration {
        let longest = self.min.saturating_mul(2_u32.saturating_pow(failures)).min(self.max);
        let spread = longest.saturating_sub(self.min);
        self.min + jitter::up_to(spread)
    }
}

/// Limits a duration to a year.
const fn limit(duration: Duration) -> Duration {
    if duration.as_secs() < MAX_LIFETIME.as_secs() { duration } else { MAX_LIFETIME }
}

#[cfg(test)]
mod tests {
    use super::*;

    // C9
    #[test]
    fn windows_start_at_min_double_and_stop_at_max() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        for failures in 1..=40 {
            let longest = 100 * 2_u64.saturating_pow(failures);
            for _ in 0..200 {
                let window = backoff.window(failures).as_millis() as u64;
                assert!((100..=longest.min(10_000)).contains(&window), "{failures}: {window}");
            }
        }
        assert_eq!(Backoff::none().window(7), Duration::ZERO);
        let upside_down = Backoff::new(Duration::from_secs(2), Duration::from_secs(1));
        assert_eq!(upside_down.window(3), Duration::from_secs(2));
    }
}
