//! Defines the tokens that a cache issues, and the checks of a hit.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::Guard;
use http::HeaderValue;
use tokio::time::Instant;

use super::claims::Claims;
use super::schedule::{Milestones, Schedule};
use super::slot::Slot;
use crate::credentials::Credentials;
use crate::protocol::dpop::Prover;
use crate::token::AccessToken;
use crate::util::clock::Now;

/// The number of an issued token. Newer tokens have higher numbers, in the whole process.
pub(crate) type IssueId = u64;
/// A position in the order in which the fetches and rejections of a slot happen.
pub(crate) type Sequence = u64;

/// The time until the end of a token whose end is not known: 30 years.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The longest time for which hits do not read the wall clock.
const WALL_CLOCK_INTERVAL: Duration = Duration::from_millis(250);

static ISSUES: AtomicU64 = AtomicU64::new(1);

/// A token with the times of its end and of its next check.
// The fields that a hit reads stand first, so that a hit touches few cache lines.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct IssuedToken {
    requested_at: Instant,
    /// The time until which hits use the token without further checks.
    ///
    /// It is in nanoseconds after `requested_at`, and at most [`WALL_CLOCK_INTERVAL`] ahead.
    fresh_until: AtomicU64,
    pub(super) issue: IssueId,
    prover: Option<Prover>,
    header: HeaderValue,
    /// The time at which the machine must check the token, in nanoseconds after `requested_at`.
    tick_at: AtomicU64,
    /// The time from the request to the token's end, in nanoseconds.
    pub(super) ends_after: u64,
    expiry_kind: ExpiryKind,
    /// The time from the token request to the token's arrival.
    ///
    /// It is in tenths of a second, rounded up.
    // This fits into what would be padding otherwise.
    arrived_after: u32,
    /// The time from the request to the first renewal, in nanoseconds.
    pub(super) renew_after: u64,
    fetch_began: Sequence,
    claims: Claims,
    /// A weak link, because the slot owns the token.
    slot: Weak<Slot>,
    pub(super) token: AccessToken,
}

/// Says whether the end of a token is known, or had passed on arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExpiryKind {
    /// The token lives until it is rejected (C7).
    Unknown,
    Known,
    /// The token had expired when it arrived. Only the callers that waited for it use it (C7).
    ExpiredOnArrival,
    /// The token never ends, and there is no other token.
    Fixed,
}

/// Says what a token that is no longer fresh can be used for.
pub(super) enum TokenCheck {
    Usable,
    /// The token is usable, and this caller must let the slot check it.
    TickDue,
    Expired,
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
        let lifetime = token.lifetime().or(credentials.lifetime_by_default());
        let Milestones { due, end } = schedule.milestones(&token, lifetime);
        let requested_at = token.requested_at();
        let ends_at = end.unwrap_or(NEVER);
        let end_of_life = token.requested_at_both().shifted_to(requested_at + ends_at);
        let expiry_kind = match end {
            None => ExpiryKind::Unknown,
            Some(_) if now.has_reached(end_of_life) => ExpiryKind::ExpiredOnArrival,
            Some(_) => ExpiryKind::Known,
        };
        let waited = now.mono.saturating_duration_since(requested_at).as_millis().div_ceil(100);
        let key = credentials.dpop_key().filter(|_| token.is_dpop());
        let prover = key.map(|key| key.prover(&token, credentials.server_clocks()));
        let token = match lifetime {
            Some(lifetime) => token.with_expires_in(lifetime),
            None => token,
        };
        Self {
            requested_at,
            fresh_until: AtomicU64::new(0),
            issue,
            prover,
            header: token.header_value().clone(),
            tick_at: AtomicU64::new(0),
            ends_after: nanos(ends_at),
            expiry_kind,
            arrived_after: u32::try_from(waited).unwrap_or(u32::MAX),
            renew_after: nanos(due.unwrap_or(NEVER).min(ends_at)),
            fetch_began: 0,
            claims: Claims::default(),
            slot: Weak::new(),
            token,
        }
    }

    /// Links the token to its slot, so that callers can reject it there.
    pub(super) fn in_slot(mut self, slot: &Arc<Slot>) -> Self {
        self.slot = Arc::downgrade(slot);
        self
    }

    /// Makes the token the only one of its slot.
    ///
    /// It has no end and cannot be rejected.
    pub(super) fn fixed(mut self) -> Self {
        self.expiry_kind = ExpiryKind::Fixed;
        self.ends_after = nanos(NEVER);
        self.renew_after = nanos(NEVER);
        self
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

    pub(crate) fn access_token(&self) -> &AccessToken {
        &self.token
    }

    /// Returns the slot that owns the token, if it still exists.
    pub(super) fn slot(&self) -> Option<Arc<Slot>> {
        self.slot.upgrade()
    }

    pub(super) fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Returns whether the token is newer than `newer_than` and carries `claims`.
    pub(super) fn satisfies(&self, newer_than: Option<IssueId>, claims: &Claims) -> bool {
        newer_than.is_none_or(|issue| self.issue > issue) && self.claims.covers(claims)
    }

    /// Returns when the token is no longer handed out, by both clocks (C5).
    pub(super) fn end(&self) -> Now {
        let mono = self.requested_at + Duration::from_nanos(self.ends_after);
        self.token.requested_at_both().shifted_to(mono)
    }

    /// Returns whether the token is renewed before its end.
    pub(super) fn is_renewed_ahead(&self) -> bool {
        self.renew_after < self.ends_after
    }

    pub(super) fn first_renewal_at(&self) -> Instant {
        self.requested_at + Duration::from_nanos(self.renew_after)
    }

    /// Returns whether either clock has reached the token's end (C5).
    pub(super) fn is_expired(&self, now: Now) -> bool {
        let by_wall = now.wall.duration_since(self.token.requested_at_both().wall);
        self.nanos_at(now.mono).max(nanos(by_wall.unwrap_or_default())) >= self.ends_after
    }

    pub(super) fn expired_on_arrival(&self) -> bool {
        self.expiry_kind == ExpiryKind::ExpiredOnArrival
    }

    pub(super) fn is_fixed(&self) -> bool {
        self.expiry_kind == ExpiryKind::Fixed
    }

    fn has_known_end(&self) -> bool {
        matches!(self.expiry_kind, ExpiryKind::Known | ExpiryKind::ExpiredOnArrival)
    }

    /// Returns the time until the token's end, if the end is known.
    pub(super) fn known_remaining(&self, now: Now) -> Option<Duration> {
        self.has_known_end().then(|| self.remaining(now))
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
        self.has_known_end() && other.has_known_end() && self.end().mono <= other.end().mono
    }

    /// Checks the token for a hit with one comparison (C1).
    ///
    /// Each token has a separate atomic, because every core would read and write a shared one.
    #[inline]
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.nanos_at(now) < self.fresh_until.load(Ordering::Relaxed)
    }

    /// Checks the token against both clocks, and prolongs the time in which hits do not.
    ///
    /// Every caller reads the wall clock before the exchange. Otherwise a caller that loses the
    /// exchange could use an expired token. Only the winner lets the slot check the token.
    #[cold]
    pub(super) fn check(&self, mono: Instant) -> TokenCheck {
        if self.is_expired(Now::at(mono)) {
            return TokenCheck::Expired;
        }
        let now = self.nanos_at(mono);
        let fresh_until = self.fresh_until.load(Ordering::Relaxed);
        if now < fresh_until {
            return TokenCheck::Usable;
        }
        let tick_at = self.tick_at.load(Ordering::Relaxed);
        // The time is never later than the token's end, because other callers use the token without
        // a check while the slot runs an overdue tick.
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

    /// Stores when the machine must check the token.
    ///
    /// The caller holds the slot's lock. The same tick is not stored again, because all cores read
    /// that cache line.
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

/// Borrows a token without a copy or a reference count.
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
    pub(super) fn token(&self) -> &Arc<IssuedToken> {
        match self {
            Self::Published(published) => published.token(),
            Self::Local(token) => token,
        }
    }

    #[inline]
    pub(crate) fn issued(&self) -> &IssuedToken {
        self.token()
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
/// A service that is used again finds this token faster than the slot. A clone starts without a
/// token, because a service that serves a single request must not touch a reference count that
/// others touch too.
#[derive(Debug, Default)]
pub(crate) struct LocalToken {
    entry: Option<LocalEntry>,
    has_been_used: bool,
}

#[derive(Debug)]
struct LocalEntry {
    token: Arc<IssuedToken>,
    /// A copy of the token's time, because two instants are compared faster than its atomic.
    fresh_until: Instant,
}

impl LocalToken {
    /// Returns whether the token can be used without reading the slot.
    ///
    /// `issue` is the number of the slot's published token.
    #[inline]
    pub(super) fn is_fresh(&self, issue: IssueId, now: Instant) -> bool {
        self.entry
            .as_ref()
            .is_some_and(|entry| entry.token.issue == issue && now < entry.fresh_until)
    }

    #[inline]
    pub(super) fn get(&self) -> Option<TokenRef<'_>> {
        self.entry.as_ref().map(|entry| TokenRef::Local(&entry.token))
    }

    /// Keeps the token that was found in the slot, from the second use on.
    #[cold]
    pub(super) fn keep(&mut self, token: &Arc<IssuedToken>) {
        self.entry = self
            .has_been_used
            .then(|| LocalEntry { token: token.clone(), fresh_until: token.fresh_until() });
        self.has_been_used = true;
    }
}

impl Clone for LocalToken {
    fn clone(&self) -> Self {
        Self::default()
    }
}
