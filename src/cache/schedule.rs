//! Computes the times of renewals and back-offs, without state.

use std::time::Duration;

use crate::error::TokenError;
use crate::token::AccessToken;
use crate::util::backoff::Backoff;
use crate::util::jitter;

/// Limits the `Retry-After` of a server.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// The settings of a cache that concern time.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    pub(super) expiry_margin: Duration,
    pub(super) renew_ahead: Duration,
    pub(super) transient: Backoff,
    pub(super) permanent: Backoff,
    pub(super) fetch_timeout: Duration,
}

/// Names the class of a failure, which has separate back-offs (C9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureClass {
    Transient,
    Permanent,
}

impl FailureClass {
    pub(super) fn from_error(error: &TokenError) -> Self {
        if error.is_transient() { Self::Transient } else { Self::Permanent }
    }
}

/// Holds the times of one token, counted from its request.
pub(super) struct Milestones {
    /// The time of the renewal.
    pub(super) due: Option<Duration>,
    /// The time from which on the token is not handed out.
    pub(super) end: Option<Duration>,
}

impl Schedule {
    /// Returns the times of `token`, whose lifetime is `lifetime`.
    pub(super) fn milestones(&self, token: &AccessToken, lifetime: Option<Duration>) -> Milestones {
        let asked = token.refresh_in();
        let Some(lifetime) = lifetime else {
            // The minimum prevents a server from causing one renewal after another.
            return Milestones {
                due: asked.map(|asked| asked.max(Duration::from_secs(10))),
                end: None,
            };
        };
        let end = lifetime.saturating_sub(self.expiry_margin.min(lifetime / 10));
        let drawn = (!self.renew_ahead.is_zero()).then(|| {
            let latest = self.renew_ahead.min(lifetime / 5);
            let spread = (lifetime / 10).min(Duration::from_secs(60 * 60));
            lifetime - latest - jitter::up_to(spread)
        });
        let asked = asked.map(|asked| asked.max(lifetime / 10));
        let due = match (drawn, asked) {
            (Some(drawn), Some(asked)) => Some(drawn.min(asked)),
            (drawn, asked) => drawn.or(asked),
        };
        Milestones { due, end: Some(end) }
    }

    /// Returns the back-off after `failures` in a row.
    pub(super) fn window(
        &self,
        class: FailureClass,
        failures: u32,
        retry_after: Option<Duration>,
    ) -> Duration {
        let backoff = match class {
            FailureClass::Transient => self.transient,
            FailureClass::Permanent => self.permanent,
        };
        let asked = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
        backoff.window(failures).max(asked)
    }

    /// Returns the pause before a failed renewal is repeated.
    ///
    /// It is between a tenth and a fifth of `remaining`, the time until the token's end, and at
    /// most a minute.
    pub(super) fn renewal_pause(&self, remaining: Duration) -> Duration {
        let longest = (remaining / 5).min(Duration::from_secs(60));
        jitter::upper_half(longest)
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

    // C5, C6
    #[test]
    fn times_are_fractions_of_short_lifetimes() {
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
    fn refresh_in_has_a_floor() {
        let schedule = Schedule::default();
        let token = AccessToken::new("t").unwrap().with_refresh_in(Duration::ZERO);
        let due = |lifetime| schedule.milestones(&token, lifetime).due;
        assert_eq!(due(Some(Duration::from_secs(100))), Some(Duration::from_secs(10)));
        assert_eq!(due(None), Some(Duration::from_secs(10)));
    }
}
