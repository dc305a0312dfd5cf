//! A token as a cache issues it, and how a hit looks at it.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::Guard;
use http::HeaderValue;
use tokio::time::Instant;

use super::claims::Claims;
use super::schedule::{Milestones, Schedule};
use crate::credentials::Credentials;
use crate::protocol::dpop::Prover;
use crate::token::{AccessToken, Issue};
use crate::util::clock::Now;

/// The number of an issued token. Newer tokens have higher numbers, in the whole process.
pub(crate) type IssueId = u64;
/// A position in the order in which the fetches and rejections of a slot happen.
pub(crate) type Sequence = u64;

/// Stands for the end of a token that does not end by itself: 30 years.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The longest time for which hits do not read the wall clock.
const WALL_CLOCK_INTERVAL: Duration = Duration::from_millis(250);

static ISSUES: AtomicU64 = AtomicU64::new(1);

/// A token, when it ends, and when it is looked at next.
// The fields that a hit reads stand first, so that a hit touches few cache lines.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct IssuedToken {
    requested_at: Instant,
    /// Hits use the token without further checks until then. In nanoseconds after `requested_at`,
    /// and at most [`WALL_CLOCK_INTERVAL`] ahead.
    fresh_until: AtomicU64,
    pub(super) issue: IssueId,
    prover: Option<Prover>,
    header: HeaderValue,
    /// When the slot's machine has to look at the token, in nanoseconds after `requested_at`.
    tick_at: AtomicU64,
    /// The time from the request to the token's end, in nanoseconds.
    pub(super) ends_after: u64,
    end_kind: EndKind,
    /// The time from the token request to the token's arrival, in tenths of a second, rounded up.
    // This fits into what would be padding otherwise.
    arrived_after: u32,
    /// The time from the request to the first renewal, in nanoseconds.
    pub(super) renew_after: u64,
    fetch_began: Sequence,
    claims: Claims,
    pub(super) token: AccessToken,
}

/// Says whether a token ends by itself, and whether it has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndKind {
    /// The token lives until it is rejected (C7).
    Unknown,
    Known,
    /// The token was over when it arrived. Only those who waited for it use it (C7).
    ExpiredOnArrival,
}

/// Says what a token that is no longer fresh can be used for.
pub(super) enum TokenCheck {
    Usable,
    /// The token is usable, and this caller must let the slot look at it.
    TickDue,
    Over,
}

impl IssuedToken {
    /// Issues a token for `credentials`.
    pub(super) fn new(
        token: AccessToken,
        credentials: &Credentials,
        schedule: &Schedule,
        now: Now,
    ) -> Self {
        let issue = ISSUES.fetch_add(1, Ordering::Relaxed);
        let lifetime = token.lifetime().or(credentials.lifetime_unless_told());
        let Milestones { due, end } = schedule.milestones(&token, lifetime);
        let requested_at = token.requested_at();
        let ends_at = end.unwrap_or(NEVER);
        let end_of_life = token.requested_at_both().shifted_to(requested_at + ends_at);
        let end_kind = match end {
            None => EndKind::Unknown,
            Some(_) if now.has_reached(end_of_life) => EndKind::ExpiredOnArrival,
            Some(_) => EndKind::Known,
        };
        let waited = now.mono.saturating_duration_since(requested_at).as_millis().div_ceil(100);
        let key = credentials.dpop_key().filter(|_| token.is_dpop());
        let prover = key.map(|key| key.prover(&token, credentials.server_clocks()));
        let mut token = token.issued(Issue { number: issue, credentials: credentials.clone() });
        if let Some(lifetime) = lifetime {
            token = token.with_expires_in(lifetime);
        }
        Self {
            requested_at,
            fresh_until: AtomicU64::new(0),
            issue,
            prover,
            header: token.header_value().clone(),
            tick_at: AtomicU64::new(0),
            ends_after: nanos(ends_at),
            end_kind,
            arrived_after: u32::try_from(waited).unwrap_or(u32::MAX),
            renew_after: nanos(due.unwrap_or(NEVER).min(ends_at)),
            fetch_began: 0,
            claims: Claims::default(),
            token,
        }
    }

    /// Records when the token's fetch began and which claims it requested.
    pub(super) fn set_fetch(&mut self, began: Sequence, claims: Claims) {
        self.fetch_began = began;
        self.claims = claims;
    }

    #[inline]
    pub(crate) fn header(&self) -> &HeaderValue {
        &self.header
    }

    #[inline]
    pub(crate) fn issue(&self) -> IssueId {
        self.issue
    }

    pub(crate) fn prover(&self) -> Option<&Prover> {
        self.prover.as_ref()
    }

    pub(crate) fn is_from_store(&self) -> bool {
        self.token.is_from_store()
    }

    /// Returns when the token's fetch began. A token is fresh if that was after the rejection of
    /// the token before it (C8).
    pub(crate) fn fetch_began(&self) -> Sequence {
        self.fetch_began
    }

    pub(super) fn access_token(&self) -> &AccessToken {
        &self.token
    }

    pub(super) fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Returns whether the token is newer than `newer_than` and carries `claims`.
    pub(super) fn satisfies(&self, newer_than: Option<IssueId>, claims: &Claims) -> bool {
        newer_than.is_none_or(|issue| self.issue > issue) && self.claims.covers(claims)
    }

    /// Returns the time from which on the token is not handed out, by both clocks (C5).
    pub(super) fn end(&self) -> Now {
        let mono = self.requested_at + Duration::from_nanos(self.ends_after);
        self.token.requested_at_both().shifted_to(mono)
    }

    pub(super) fn first_renewal_at(&self) -> Instant {
        self.requested_at + Duration::from_nanos(self.renew_after)
    }

    /// Returns whether either clock has reached the token's end (C5).
    pub(super) fn is_over(&self, now: Now) -> bool {
        let by_wall = now.wall.duration_since(self.token.requested_at_both().wall);
        self.nanos_at(now.mono).max(nanos(by_wall.unwrap_or_default())) >= self.ends_after
    }

    pub(super) fn expired_on_arrival(&self) -> bool {
        self.end_kind == EndKind::ExpiredOnArrival
    }

    /// Returns the time until the token's end, by the clock that reaches it first.
    pub(super) fn remaining(&self, now: Now) -> Duration {
        let end = self.end();
        let by_mono = end.mono.saturating_duration_since(now.mono);
        by_mono.min(end.wall.duration_since(now.wall).unwrap_or_default())
    }

    /// Returns when this process received the token, at most 100 ms too late.
    pub(super) fn arrived_at(&self) -> Instant {
        self.requested_at + Duration::from_millis(100) * self.arrived_after
    }

    pub(super) fn requested_at(&self) -> Instant {
        self.requested_at
    }

    pub(super) fn has_same_secret_as(&self, other: &Self) -> bool {
        self.token.has_same_secret_as(&other.token)
    }

    /// Returns whether the token certainly brings no longer lifetime than `other` (C6).
    pub(super) fn ends_no_later_than(&self, other: &Self) -> bool {
        let has_end = |token: &Self| token.end_kind != EndKind::Unknown;
        has_end(self) && has_end(other) && self.end().mono <= other.end().mono
    }

    /// Checks the token for a hit with one comparison (C1).
    ///
    /// Each token has an atomic of its own, because one that all share would be read and written
    /// by every core.
    #[inline]
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.nanos_at(now) < self.fresh_until.load(Ordering::Relaxed)
    }

    /// Checks the token against both clocks, and prolongs the time in which hits do not.
    ///
    /// Every caller reads the wall clock before the exchange. Otherwise a caller that loses the
    /// exchange could use a token that is over. Only the winner lets the slot look at the token.
    #[cold]
    pub(super) fn check(&self, mono: Instant) -> TokenCheck {
        if self.is_over(Now::at(mono)) {
            return TokenCheck::Over;
        }
        let now = self.nanos_at(mono);
        let fresh_until = self.fresh_until.load(Ordering::Relaxed);
        if now < fresh_until {
            return TokenCheck::Usable;
        }
        let tick_at = self.tick_at.load(Ordering::Relaxed);
        // Never beyond the end: if a tick is overdue, others use the token until the slot has run it.
        let latest = now.saturating_add(nanos(WALL_CLOCK_INTERVAL)).min(self.ends_after);
        let next = if tick_at > now { latest.min(tick_at) } else { latest };
        // `Relaxed` is enough, because the values are hints and the slot's lock orders changes.
        let exchanged = self.fresh_until.compare_exchange(
            fresh_until,
            next,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        if exchanged.is_ok() && tick_at <= now { TokenCheck::TickDue } else { TokenCheck::Usable }
    }

    /// Stores when the machine has to look at the token. Called under the slot's lock only.
    ///
    /// The same tick is not stored again, because all cores read that cache line.
    pub(super) fn set_tick(&self, at: Instant) {
        let tick_at = self.nanos_at(at);
        if self.tick_at.load(Ordering::Relaxed) != tick_at {
            self.tick_at.store(tick_at, Ordering::Relaxed);
        }
        if tick_at < self.fresh_until.load(Ordering::Relaxed) {
            self.fresh_until.store(tick_at, Ordering::Relaxed);
        }
    }

    /// Returns until when hits use the token without further checks.
    fn fresh_until(&self) -> Instant {
        self.requested_at + Duration::from_nanos(self.fresh_until.load(Ordering::Relaxed))
    }

    #[inline]
    fn nanos_at(&self, at: Instant) -> u64 {
        nanos(at.saturating_duration_since(self.requested_at))
    }
}

/// Converts a duration. There is room for 584 years, and nothing here lasts longer than [`NEVER`].
#[inline]
fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos().into())
}

/// A token that is read where it is, without a copy or a reference count.
///
/// Drop it before the request goes out.
pub(crate) enum TokenRef<'a> {
    Published(PublishedToken),
    Local(&'a Arc<IssuedToken>),
}

/// Protects the published token of a slot while it is read.
pub(crate) struct PublishedToken(Guard<Option<Arc<IssuedToken>>>);

impl PublishedToken {
    /// Wraps the guard if the slot has a token.
    #[inline]
    pub(super) fn new(guard: Guard<Option<Arc<IssuedToken>>>) -> Option<Self> {
        guard.is_some().then_some(Self(guard))
    }

    #[inline]
    pub(super) fn token(&self) -> &Arc<IssuedToken> {
        self.0.as_ref().expect("the guard was checked to hold a token in `new`")
    }
}

impl TokenRef<'_> {
    #[inline]
    fn token(&self) -> &Arc<IssuedToken> {
        match self {
            Self::Published(published) => published.token(),
            Self::Local(token) => token,
        }
    }

    #[inline]
    pub(crate) fn header(&self) -> &HeaderValue {
        self.token().header()
    }

    #[inline]
    pub(crate) fn issue(&self) -> IssueId {
        self.token().issue()
    }

    /// Returns whether a DPoP proof must go with the token.
    #[inline]
    pub(crate) fn needs_proof(&self) -> bool {
        self.token().prover().is_some()
    }

    pub(crate) fn to_token(&self) -> Arc<IssuedToken> {
        self.token().clone()
    }
}

/// The token that a service used last, kept beside the service.
///
/// A service that is used again finds it faster than the slot. A clone starts without one, because
/// a service that serves a single request must not touch a reference count that others touch too.
#[derive(Debug, Default)]
pub(crate) struct LocalToken {
    kept: Option<KeptToken>,
    has_been_used: bool,
}

#[derive(Debug)]
struct KeptToken {
    token: Arc<IssuedToken>,
    /// A copy, because two instants are compared faster than the token's atomic.
    fresh_until: Instant,
}

impl LocalToken {
    /// Returns whether the token can be used without a look at the slot, whose published token has
    /// the number `issue`.
    #[inline]
    pub(super) fn is_fresh(&self, issue: IssueId, now: Instant) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.token.issue == issue && now < kept.fresh_until)
    }

    #[inline]
    pub(super) fn get(&self) -> Option<TokenRef<'_>> {
        self.kept.as_ref().map(|kept| TokenRef::Local(&kept.token))
    }

    /// Keeps the token that was found in the slot, from the second use on.
    #[cold]
    pub(super) fn keep(&mut self, token: &Arc<IssuedToken>) {
        self.kept = self
            .has_been_used
            .then(|| KeptToken { token: token.clone(), fresh_until: token.fresh_until() });
        self.has_been_used = true;
    }
}

impl Clone for LocalToken {
    fn clone(&self) -> Self {
        Self::default()
    }
}
