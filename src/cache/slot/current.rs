//! One token as it was issued here, and how it is looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::Guard;
use http::HeaderValue;
use tokio::time::Instant;

use crate::cache::schedule::{Milestones, Schedule};
use crate::credentials::ClientCredentials;
use crate::dpop::Prover;
use crate::token::{AccessToken, Issue};

/// A renewal is on its way: nobody else is to begin one.
const CLAIMED: u64 = u64::MAX;

/// For tokens that do not end: 30 years.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// A token as it was issued here.
// What a hit looks at comes first, side by side.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Current {
    /// Until then there is nothing to do but to hand it out.
    pub(super) fresh_until: Instant,
    pub(super) number: u64,
    /// For a token that goes with a proof.
    prover: Option<Prover>,
    header: HeaderValue,
    /// When to renew it, once it is not fresh: nanoseconds after it was requested, or `CLAIMED`.
    due: AtomicU64,
    /// Whether anybody said when it ends.
    has_known_end: bool,
    /// From here on it is not handed out.
    pub(super) end: Instant,
    /// It was over when it arrived: it is for those who waited for it, and for nobody else.
    pub(super) came_too_late: bool,
    pub(super) token: AccessToken,
}

/// What is handed out for one request.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) header: HeaderValue,
    pub(crate) number: u64,
    /// None for a token that was over when it arrived: those who waited for it use it all the same.
    pub(super) good_until: Option<Instant>,
    /// It may be as old as the one before it.
    pub(crate) is_from_store: bool,
    pub(crate) prover: Option<Prover>,
}

/// A token that is looked at where it is: nothing of it is counted or copied before it is used.
/// To be let go of before the request goes out.
pub(crate) enum Hit<'a> {
    InSlot(InSlot),
    AtHand(&'a Current),
}

/// Keeps a token where it is while it is looked at.
pub(crate) struct InSlot(pub(super) Guard<Option<Arc<Current>>>);

impl InSlot {
    #[inline]
    fn current(&self) -> &Arc<Current> {
        self.0.as_ref().expect("a hit has a token")
    }

    pub(in crate::cache) fn number(&self) -> u64 {
        self.current().number
    }

    pub(in crate::cache) fn into_current(self) -> Arc<Current> {
        Guard::into_inner(self.0).expect("a hit has a token")
    }
}

/// The cache's own token, in the hands of a service that is used again and again: cheaper to look at
/// than the slot. A clone starts with none, so that one that serves a single request counts nothing
/// that others count too.
#[derive(Debug, Default)]
pub(crate) struct AtHand {
    current: Option<Arc<Current>>,
    has_been_used: bool,
}

impl AtHand {
    /// Whether it may be used without a look into the slot, whose token has the number `current`.
    #[inline]
    pub(in crate::cache) fn is_fresh(&self, current: u64, now: Instant) -> bool {
        self.current
            .as_ref()
            .is_some_and(|at_hand| at_hand.number == current && now < at_hand.fresh_until)
    }

    #[inline]
    pub(in crate::cache) fn hit(&self) -> Option<Hit<'_>> {
        self.current.as_deref().map(Hit::AtHand)
    }

    /// Takes what was found in the slot, from the second use on.
    #[cold]
    pub(in crate::cache) fn take(&mut self, found: &InSlot) {
        self.current = self.has_been_used.then(|| found.current().clone());
        self.has_been_used = true;
    }
}

impl Clone for AtHand {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Hit<'_> {
    #[inline]
    fn current(&self) -> &Current {
        match self {
            Self::InSlot(found) => found.current(),
            Self::AtHand(current) => current,
        }
    }

    #[inline]
    pub(crate) fn header(&self) -> &HeaderValue {
        &self.current().header
    }

    #[inline]
    pub(crate) fn number(&self) -> u64 {
        self.current().number
    }

    /// Whether the token goes with a proof.
    #[inline]
    pub(crate) fn needs_proof(&self) -> bool {
        self.current().prover.is_some()
    }

    pub(crate) fn grant(&self) -> Grant {
        self.current().grant()
    }
}

/// What a token that is no longer fresh is good for.
pub(super) enum Stale {
    Usable,
    Due,
    Gone,
}

impl Current {
    pub(super) fn issue(
        token: AccessToken,
        credentials: &ClientCredentials,
        schedule: &Schedule,
    ) -> Self {
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let lifetime = token.lifetime().or(credentials.lifetime_unless_told());
        let Milestones { due, end } = schedule.milestones(&token, lifetime);
        let has_known_end = end.is_some();
        let (due, end) = (due.unwrap_or(FOREVER), end.unwrap_or(FOREVER));
        let requested_at = token.requested_at();
        let key = credentials.dpop_key().filter(|_| token.is_dpop());
        let prover = key.map(|key| key.prover(Some(&token)));
        let mut token = token.issued(Issue { number, credentials: credentials.clone() });
        if let Some(lifetime) = lifetime {
            token = token.with_expires_in(lifetime);
        }
        let ends_at = requested_at + end;
        Self {
            header: token.header_value().clone(),
            number,
            fresh_until: requested_at + due.min(end),
            due: AtomicU64::new(nanos(due)),
            has_known_end,
            end: ends_at,
            came_too_late: Instant::now() >= ends_at,
            token,
            prover,
        }
    }

    pub(in crate::cache) fn token(&self) -> &AccessToken {
        &self.token
    }

    pub(in crate::cache) fn grant(&self) -> Grant {
        let good_until = self.is_usable(Instant::now()).then_some(self.end);
        Grant {
            header: self.header.clone(),
            number: self.number,
            good_until,
            is_from_store: self.token.is_from_store(),
            prover: self.prover.clone(),
        }
    }

    fn age(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.token.requested_at()))
    }

    pub(super) fn is_usable(&self, now: Instant) -> bool {
        now < self.end
    }

    pub(super) fn left(&self, now: Instant) -> Duration {
        self.end.saturating_duration_since(now)
    }

    /// Whether it is certain that it brings nothing.
    pub(super) fn lives_no_longer_than(&self, other: &Self) -> bool {
        self.has_known_end && other.has_known_end && self.end <= other.end
    }

    /// When to look at it again.
    pub(super) fn due(&self) -> Instant {
        let due = Duration::from_nanos(self.due.load(Ordering::Relaxed)).min(FOREVER);
        (self.token.requested_at() + due).min(self.end)
    }

    /// Past its freshness: still to be handed out, or not; the renewal falls to one caller.
    #[cold]
    pub(super) fn stale(&self, now: Instant) -> Stale {
        if !self.is_usable(now) {
            return Stale::Gone;
        }
        let due = self.due.load(Ordering::Relaxed);
        let is_claimed = self.age(now) >= due
            && self
                .due
                .compare_exchange(due, CLAIMED, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if is_claimed { Stale::Due } else { Stale::Usable }
    }

    pub(super) fn put_off_renewal(&self, until: Instant) {
        self.due.store(self.age(until), Ordering::Relaxed);
    }
}

fn nanos(duration: Duration) -> u64 {
    // Room for 584 years, and nothing lasts longer than `FOREVER`.
    duration.as_secs().saturating_mul(1_000_000_000) + u64::from(duration.subsec_nanos())
}
