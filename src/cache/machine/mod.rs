//! Describes the cache slot of one set of credentials as a pure state machine.
//!
//! The machine does no I/O, holds no lock and reads no clock: the slot passes the time in,
//! publishes the current token, runs the fetch tasks and emits the events.
//!
//! A machine has a token state, at most one fetch (C2) and at most one remembered failure (C9):
//!
//! ```text
//! Token state
//!   any state ───▶ Current (Good)     a fetch completes with another token
//!   Current ─────▶ Expired            one of the two clocks reaches the token's end (C5)
//!   Current ─────▶ Rejected           an API rejects the token, and the breaker's verdict is
//!                                     `Reject` (C8, R8); or a caller rejects the token by hand
//!   Good ────────▶ Suspect            an API rejects the current token, and the breaker's verdict
//!                                     is `Suspect` (R8); or the token only lacks claims (R7)
//!   any state ───▶ Absent             the slot is cleared (`forget`); or the new token had already
//!                                     expired when it arrived (C7)
//! Fetch
//!   none ────────▶ running            a caller needs a token (`next_step`); or a hit finds that a
//!                                     renewal is due (`tick`)
//!   running ─────▶ none               `complete`, `abandon`, `supersede`, `forget`; or `tick`
//!                                     presumes the fetch dead (C3)
//! Failure
//!   none ────────▶ remembered         a fetch fails, or panics twice in a row
//!   remembered ──▶ none               the token endpoint answers with a token, the credentials
//!                                     change, or the slot is cleared; a rejection clears the
//!                                     failure of a renewal
//! ```
//!
//! Transitions return [`Events`]. The slot emits them after it has unlocked the machine.

mod complete;
mod events;
mod failure;
mod reject;
mod step;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub(super) use self::complete::{Abandoned, Completion, FetchResult, Loss, LostFetch, TaskTiming};
use self::events::Event;
pub(super) use self::events::Events;
pub(crate) use self::events::Suspicions;
use self::failure::{FailedDuring, Failure};
use self::reject::RejectedToken;
pub(crate) use self::reject::{Rejection, RejectionOutcome};
pub(crate) use self::step::Requirements;
pub(super) use self::step::{FetchSpec, FetchStart, Step, TickOutcome};
use super::breaker::Breaker;
use super::claims::{Claims, Refusals};
use super::fetch::{FetchHandle, FetchId};
use super::issued::{IssueId, IssuedToken, Sequence};
use super::schedule::Schedule;
use super::status::SlotStatus;
use crate::credentials::request::Cause;
use crate::util::clock::Now;
use crate::util::liveness::BEAT_INTERVAL;

/// The shortest pause of the keep-warm task.
///
/// It keeps tokens that expire on arrival from making the task spin (C11).
const MIN_KEEP_WARM_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause of the keep-warm task, so that it notices a suspend (C5).
const MAX_KEEP_WARM_PAUSE: Duration = Duration::from_secs(10);

/// Decides when to use, fetch, renew and drop the token of one set of credentials.
#[derive(Debug, Default)]
pub(super) struct Machine {
    token_state: TokenState,
    /// The only live fetch (C2).
    fetch: Option<Box<Fetch>>,
    /// The last failure, until a token arrives (C9).
    failure: Option<Box<Failure>>,
    /// A fetch has failed since the last success.
    ///
    /// It stays set when the failure or the slot is cleared, because the failure was logged.
    has_failed: bool,
    /// The number of consecutive failures of one class, transient or permanent.
    consecutive_failures: u32,
    /// The number of consecutive renewals that brought no longer lifetime (C6).
    consecutive_short_renewals: u16,
    /// The number of consecutive fetches that panicked (C3).
    consecutive_panics: u8,
    /// The newest issue that was rejected. Older issues are not sent either (C8).
    rejected_through: IssueId,
    /// The last sequence number. Fetches and rejections share the numbers.
    last_sequence: Sequence,
    /// The sequence number of the last rejection that counted.
    last_rejection: Sequence,
    /// The claims that an API requires and that no token carries yet (R7).
    wanted_claims: Claims,
    refused_claims: Refusals,
    pub(super) breaker: Breaker,
}

/// Says which token the slot has, and whether it may be handed out.
#[derive(Debug, Default)]
enum TokenState {
    #[default]
    Absent,
    /// The token is published, and hits use it.
    Current(CurrentToken),
    /// The token has reached its end. Fetches still show it, so that a store does not return it.
    Expired(Arc<IssuedToken>),
    /// The token was rejected. The state lasts until another token arrives (C8).
    Rejected(Box<RejectedToken>),
}

/// The token that hits use.
#[derive(Debug)]
struct CurrentToken {
    token: Arc<IssuedToken>,
    renew_at: Instant,
    standing: Standing,
}

/// Says whether an API has rejected the current token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Good,
    /// An API rejected the token, or requires claims that it lacks. The rejected requests wait for
    /// the next token; all others use this one.
    Suspect,
}

/// The running fetch.
#[derive(Debug)]
struct Fetch {
    handle: FetchHandle,
    cause: Cause,
    claims: Claims,
    /// The claims with which earlier requests of the fetch failed.
    dropped_claims: Vec<Claims>,
    /// The position of the fetch among the rejections (C8).
    began: Sequence,
    waiters: Waiters,
    retry: Retry,
    /// The number of beats at the last look (C3).
    beats_seen: u64,
    /// The time at which `tick` last looked for a beat.
    looked_at: Instant,
    /// The number of looks in a row without a new beat.
    silent_looks: u32,
}

/// Says whether any caller waits for a fetch, or has waited for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiters {
    None,
    Some,
}

/// Says whether a fetch may be retried after a failure. Each fetch has one retry, so that nothing
/// loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retry {
    Available,
    Used,
}

/// The time of a transition, and the settings that it depends on.
#[derive(Clone, Copy)]
pub(super) struct Moment<'a> {
    pub(super) now: Now,
    pub(super) schedule: &'a Schedule,
}

impl Machine {
    /// Creates an empty machine whose sequence numbers follow `last_sequence`.
    pub(super) fn starting_after(last_sequence: Sequence) -> Self {
        Self { last_sequence, last_rejection: last_sequence, ..Self::default() }
    }

    /// Returns the token to publish. Hits see no other token.
    pub(super) fn current(&self) -> Option<&Arc<IssuedToken>> {
        match &self.token_state {
            TokenState::Current(current) => Some(&current.token),
            _ => None,
        }
    }

    /// Returns when a hit must call [`tick`](Self::tick) for the published token.
    ///
    /// Calling `tick` earlier is harmless; calling it later delays a renewal.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        let TokenState::Current(current) = &self.token_state else {
            return None;
        };
        let at = match &self.fetch {
            None => current.renew_at,
            Some(fetch) => fetch.looked_at + BEAT_INTERVAL,
        };
        let breaker_resets_at = self.breaker.resets_at().unwrap_or(at);
        Some(at.min(breaker_resets_at).min(current.token.end().mono))
    }

    /// Returns whether a request that took `token` earlier may still send it to `origin`.
    pub(super) fn may_send(&self, token: &IssuedToken, origin: Option<u64>, now: Now) -> bool {
        if token.expired_on_arrival() {
            return token.issue() > self.rejected_through;
        }
        if token.is_expired(now) {
            return false;
        }
        match &self.token_state {
            TokenState::Current(current) if current.token.issue() == token.issue() => true,
            // C12: only if no replacement is available.
            TokenState::Rejected(rejected) if rejected.token.issue() == token.issue() => {
                self.failure.is_some() && rejected.by.allows(origin)
            }
            _ => token.issue() > self.rejected_through,
        }
    }

    /// Clears the remembered failure if the credentials of `version` caused it (C9).
    pub(super) fn clear_failure(&mut self, version: u64) -> Events {
        match &self.failure {
            Some(failure) if failure.version == Some(version) => self.clear_failures(),
            _ => Events::default(),
        }
    }

    /// Clears the slot.
    ///
    /// The result of a running fetch has no effect after that. The fetch keeps the lock of its
    /// refresh token and its lease, because it is alive.
    ///
    /// Sequence numbers continue, so that running requests can still compare theirs.
    pub(super) fn forget(&mut self) -> Events {
        let breaker = self.breaker.reset();
        let mut forgotten = std::mem::replace(self, Self::starting_after(self.last_sequence));
        self.rejected_through = forgotten.rejected_through;
        self.has_failed = forgotten.has_failed;
        let events = forgotten.clear_failures();
        Events { breaker, wakes_keep_warm: true, ..events }
    }

    /// Returns when the keep-warm task must ask for a token again (C11).
    pub(super) fn next_keep_warm(&self, now: Now) -> Instant {
        let soon = now.mono + MIN_KEEP_WARM_PAUSE;
        let at = match (&self.token_state, &self.failure) {
            _ if self.fetch.is_some() => soon,
            (TokenState::Current(current), _) if !current.token.is_expired(now) => current
                .renew_at
                .min(current.token.end().mono)
                .max(current.token.requested_at() + MIN_KEEP_WARM_PAUSE)
                .max(now.mono + BEAT_INTERVAL),
            (TokenState::Rejected(_), None) => now.mono,
            (_, Some(failure)) => failure.until.mono.max(soon),
            (_, None) => soon,
        };
        at.min(now.mono + MAX_KEEP_WARM_PAUSE)
    }

    /// Returns whether this token, or a newer one, was rejected.
    pub(super) fn is_rejected(&self, issue: IssueId) -> bool {
        issue <= self.rejected_through
    }

    /// Publishes a token that no fetch brought.
    pub(super) fn preset(&mut self, token: Arc<IssuedToken>) -> Events {
        let renew_at = token.first_renewal_at();
        let current = CurrentToken { token, renew_at, standing: Standing::Good };
        self.token_state = TokenState::Current(current);
        Events::default()
    }

    /// Returns the state that callers may see.
    pub(super) fn status(&self, now: Now) -> SlotStatus {
        let current = match &self.token_state {
            TokenState::Current(current) if !current.token.is_expired(now) => Some(current),
            _ => None,
        };
        SlotStatus {
            token: current.map(|current| current.token.clone()),
            renew_at: current
                .filter(|current| current.token.is_renewed_ahead())
                .map(|current| current.renew_at),
            error: self.failure.as_ref().map(|failure| failure.error.clone()),
            is_fetching: self.fetch.is_some(),
        }
    }

    /// Moves the current token to `Expired` if either clock has reached its end (C5).
    ///
    /// Transitions that depend on the token call this first. An expired token stays expired, even
    /// if the wall clock is set back.
    fn expire_if_due(&mut self, now: Now) {
        if let TokenState::Current(current) = &self.token_state {
            if current.token.is_expired(now) {
                self.token_state = TokenState::Expired(current.token.clone());
            }
        }
    }

    /// Removes the fetch because it shows no sign of life (C3).
    ///
    /// Its result has no effect after that.
    fn drop_dead_fetch(&mut self) -> Events {
        match self.fetch.take() {
            Some(fetch) => {
                fetch.handle.liveness().supersede();
                Events::waking_keep_warm(Event::PresumedDead)
            }
            None => Events::default(),
        }
    }

    /// Returns the last token of the slot, in any state.
    fn last_token(&self) -> Option<&Arc<IssuedToken>> {
        match &self.token_state {
            TokenState::Absent => None,
            TokenState::Current(CurrentToken { token, .. }) | TokenState::Expired(token) => {
                Some(token)
            }
            TokenState::Rejected(rejected) => Some(&rejected.token),
        }
    }

    fn cause(&self) -> Cause {
        match &self.token_state {
            TokenState::Absent | TokenState::Expired(_) => Cause::Cold,
            TokenState::Current(current)
                if current.standing == Standing::Good && self.wanted_claims.is_empty() =>
            {
                Cause::Renewal
            }
            TokenState::Current(_) | TokenState::Rejected(_) => Cause::Rejected,
        }
    }

    fn fetch_spec(&self, fetch: &Fetch) -> FetchSpec {
        let (cause, claims) = (fetch.cause, fetch.claims.clone());
        FetchSpec { cause, previous: self.last_token().cloned(), claims }
    }

    fn next_sequence(&mut self) -> Sequence {
        self.last_sequence += 1;
        self.last_sequence
    }

    /// Clears the failure. The next back-off is then as short as the first one.
    fn clear_failures(&mut self) -> Events {
        self.consecutive_failures = 0;
        let displaced_failure = self.failure.take();
        let failing_change = -i8::from(displaced_failure.as_deref().is_some_and(Failure::counts));
        Events { failing_change, displaced_failure, ..Events::default() }
    }

    fn take_fetch(&mut self, id: FetchId) -> Option<Box<Fetch>> {
        self.fetch.take_if(|fetch| fetch.handle.id() == id)
    }
}
