//! When: margins, renewal, back-off. Nothing here waits or keeps state.

use std::time::Duration;

use crate::token::{AccessToken, MAX_LIFETIME};

/// A server's `Retry-After` is obeyed up to this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// How long a cache leaves a source alone after it has failed.
///
/// The first failure is followed by a window drawn uniformly between [`min`](Self::new) and twice that; each
/// further one doubles the longest that can be drawn, up to [`max`](Self::new). The draw keeps a fleet from
/// coming back in step. A success starts over.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower_oauth2::Backoff;
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
    /// Windows from `min` up to `max`, a year at most. When `max` is less than `min`, `min` is.
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self { min: cut(min), max: cut(max) }
    }

    /// No window at all: the next caller asks again.
    pub const fn none() -> Self {
        Self::new(Duration::ZERO, Duration::ZERO)
    }

    /// The window after `failures` in a row.
    fn window(&self, failures: u32) -> Duration {
        let longest = self.min.saturating_mul(2_u32.saturating_pow(failures)).min(self.max);
        let spread = longest.saturating_sub(self.min);
        self.min + spread.mul_f64(fastrand::f64())
    }
}

/// To what keeps sums within the clock.
const fn cut(duration: Duration) -> Duration {
    if duration.as_secs() < MAX_LIFETIME.as_secs() { duration } else { MAX_LIFETIME }
}

/// What a cache can be told about time.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    pub(super) expiry_margin: Duration,
    pub(super) renew_ahead: Duration,
    pub(super) transient: Backoff,
    pub(super) permanent: Backoff,
    pub(super) fetch_timeout: Duration,
}

/// The milestones of one token, counted from the moment it was requested.
pub(super) struct Milestones {
    /// From here on it is renewed.
    pub(super) due: Option<Duration>,
    /// From here on it is not handed out.
    pub(super) end: Option<Duration>,
}

impl Schedule {
    /// The milestones of `token`, which lives for `lifetime`.
    pub(super) fn milestones(&self, token: &AccessToken, lifetime: Option<Duration>) -> Milestones {
        let asked = token.refresh_in();
        let Some(lifetime) = lifetime else {
            // Nobody knows when it ends; a server that wants it renewed at once is not given in to.
            return Milestones {
                due: asked.map(|asked| asked.max(Duration::from_secs(10))),
                end: None,
            };
        };
        let end = lifetime.saturating_sub(self.expiry_margin.min(lifetime / 10));
        let drawn = (!self.renew_ahead.is_zero()).then(|| {
            let latest = self.renew_ahead.min(lifetime / 5);
            let spread = (lifetime / 10).min(Duration::from_secs(60 * 60));
            lifetime - latest - spread.mul_f64(fastrand::f64())
        });
        let asked = asked.map(|asked| asked.max(lifetime / 10));
        let due = match (drawn, asked) {
            (Some(drawn), Some(asked)) => Some(drawn.min(asked)),
            (drawn, asked) => drawn.or(asked),
        };
        Milestones { due, end: Some(end) }
    }

    /// How long to leave the source alone after `failures` in a row.
    pub(super) fn window(
        &self,
        is_transient: bool,
        failures: u32,
        retry_after: Option<Duration>,
    ) -> Duration {
        let backoff = if is_transient { self.transient } else { self.permanent };
        let asked = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
        backoff.window(failures).max(asked)
    }
}

impl Default for Schedule {
    fn default() -> Self {
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        Self {
            expiry_margin: s(10),
            renew_ahead: s(5 * 60),
            transient: Backoff::new(ms(100), s(10)),
            permanent: Backoff::new(s(1), s(60)),
            fetch_timeout: s(10 * 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // C9
    #[test]
    fn windows_start_at_the_least_double_and_stop_at_the_most() {
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

    // C5, C6
    #[test]
    fn milestones_are_fractions_of_short_lives_and_fixed_for_long_ones() {
        let schedule = Schedule::default();
        let token = AccessToken::new("t").unwrap();
        for (lifetime, end, earliest, latest) in [
            (2.0, 1.8, 1.4, 1.6),
            (100.0, 90.0, 70.0, 80.0),
            (3600.0, 3590.0, 2940.0, 3300.0),
            (86_400.0, 86_390.0, 82_500.0, 86_100.0),
        ] {
            for _ in 0..200 {
                let milestones =
                    schedule.milestones(&token, Some(Duration::from_secs_f64(lifetime)));
                assert_eq!(milestones.end.unwrap().as_secs_f64(), end);
                let due = milestones.due.unwrap().as_secs_f64();
                assert!((earliest..=latest).contains(&due), "{lifetime}: {due}");
            }
        }
    }

    // C6
    #[test]
    fn a_server_that_wants_its_token_renewed_at_once_is_not_given_in_to() {
        let schedule = Schedule::default();
        let token = AccessToken::new("t").unwrap().with_refresh_in(Duration::ZERO);
        let due = |lifetime| schedule.milestones(&token, lifetime).due;
        assert_eq!(due(Some(Duration::from_secs(100))), Some(Duration::from_secs(10)));
        assert_eq!(due(None), Some(Duration::from_secs(10)));
    }
}
