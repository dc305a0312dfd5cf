//! The state of one token: the one that is handed out, the one that was rejected, the failure that
//! is remembered, the flight that is on its way.

mod current;
mod flight;
mod state;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::current::Stale;
pub(crate) use self::current::{AtHand, Grant, Hit};
pub(super) use self::current::{Current, InSlot};
pub(super) use self::flight::{Flight, Outcome};
pub(super) use self::state::State;
use self::state::{Failure, News, Over, Rejected};
use super::schedule::Schedule;
use crate::credentials::ClientCredentials;
use crate::error::{TokenError, TokenErrorKind};
use crate::request::{Cause, TokenRequest};
use crate::token::AccessToken;

// What a hit looks at comes first, side by side.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Slot {
    current: ArcSwapOption<Current>,
    /// Milliseconds on the clock of whoever keeps many slots.
    pub(super) last_used: AtomicU64,
    credentials: ClientCredentials,
    /// Of the current token, or 0: for those who have it at hand.
    number: AtomicU64,
    /// Never held across an await, nor while code of others runs.
    state: Mutex<State>,
    /// Told of whatever a task that keeps this slot warm would want to look at.
    pub(super) changed: Notify,
    pub(super) is_kept_warm: AtomicBool,
    is_retired: AtomicBool,
}

pub(super) enum Peek {
    Hit(InSlot),
    /// As `Hit`, and it falls to the caller to see to the renewal.
    Due(InSlot),
    Miss,
}

/// What a caller that found no token is to do.
pub(super) enum Miss {
    Landed(Arc<Current>),
    Wait(Flight),
    Remembered(TokenError),
    /// Only if the credentials still have this version.
    RememberedFor(u64, TokenError),
    Board(TokenRequest),
}

/// What becomes of a flight.
pub(super) enum Landing {
    Down(Outcome),
    /// It brought what was rejected while it was on its way; once more.
    Again(TokenRequest),
}

impl Slot {
    pub(super) fn new(credentials: ClientCredentials) -> Self {
        Self {
            current: ArcSwapOption::empty(),
            last_used: AtomicU64::new(0),
            credentials,
            number: AtomicU64::new(0),
            state: Mutex::default(),
            changed: Notify::new(),
            is_kept_warm: AtomicBool::new(false),
            is_retired: AtomicBool::new(false),
        }
    }

    pub(super) fn credentials(&self) -> &ClientCredentials {
        &self.credentials
    }

    /// What went wrong before anybody was asked, or after.
    pub(super) fn error(&self, kind: TokenErrorKind) -> TokenError {
        TokenError::new(kind, "").at(self.credentials.token_endpoint_origin())
    }

    /// The hit: an atomic load and a comparison.
    #[inline]
    pub(super) fn peek(&self, now: Instant) -> Peek {
        let guard = self.current.load();
        let Some(current) = &*guard else {
            return Peek::Miss;
        };
        if now < current.fresh_until {
            return Peek::Hit(InSlot(guard));
        }
        match current.stale(now) {
            Stale::Usable => Peek::Hit(InSlot(guard)),
            Stale::Due => Peek::Due(InSlot(guard)),
            Stale::Gone => Peek::Miss,
        }
    }

    /// The number of the current token, or 0.
    #[inline]
    pub(super) fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// Under the lock of the state.
    fn replace(&self, current: Option<Arc<Current>>) {
        let number = current.as_ref().map_or(0, |current| current.number);
        self.current.store(current);
        self.number.store(number, Ordering::Release);
    }

    /// What to do after a miss. Whoever is told to board does so before the lock is given back.
    pub(super) fn miss(&self, state: &State) -> Miss {
        let now = Instant::now();
        if let Some(current) = self.usable(now) {
            return Miss::Landed(current);
        }
        if let Some(flight) = &state.flight {
            return Miss::Wait(flight.clone());
        }
        if let Some(failure) = &state.failure {
            let remaining = failure.until.saturating_duration_since(now);
            if !remaining.is_zero() {
                let error = failure.error.clone().with_retry_in(remaining);
                return match failure.version {
                    Some(version) => Miss::RememberedFor(version, error),
                    None => Miss::Remembered(error),
                };
            }
        }
        Miss::Board(match &state.rejected {
            Some(rejected) => self.request_after(rejected),
            None => self.request_after_the_end(),
        })
    }

    /// Forgets a failure of credentials that have changed since.
    pub(super) fn forgive(&self, version: u64) {
        let mut state = self.lock();
        if state.failure.as_ref().is_some_and(|failure| failure.version == Some(version)) {
            let over = state.end_failures();
            drop(state);
            over.tell();
        }
    }

    /// The token that is over is shown, lest a store with a smaller margin answers with it.
    fn request_after_the_end(&self) -> TokenRequest {
        let request = TokenRequest::new(self.credentials.clone());
        match &*self.current.load() {
            Some(over) => request.in_place_of(over.token.clone(), Cause::Cold),
            None => request,
        }
    }

    fn request_after(&self, rejected: &Rejected) -> TokenRequest {
        let request = TokenRequest::new(self.credentials.clone())
            .in_place_of(rejected.token.clone(), Cause::Rejected);
        match &rejected.claims {
            Some(claims) => request.with_claims(claims.clone()),
            None => request,
        }
    }

    /// The request of the renewal of the token of this number, unless it is on its way. The token may have
    /// been replaced since it was found to be due, and the one in its place is not.
    pub(super) fn renewal(&self, state: &State, number: u64) -> Option<TokenRequest> {
        let current = self.usable(Instant::now()).filter(|current| current.number == number)?;
        if state.flight.is_some() {
            return None;
        }
        let request = TokenRequest::new(self.credentials.clone());
        Some(request.in_place_of(current.token.clone(), Cause::Renewal))
    }

    /// Gives back a renewal that could not begin.
    pub(super) fn put_off_renewal(&self, number: u64, wait: Duration) {
        if let Some(current) = self.current.load().as_ref().filter(|it| it.number == number) {
            current.put_off_renewal(Instant::now() + wait);
        }
    }

    /// Drops the token of this number; `false` when it is no longer the current one.
    pub(super) fn reject(&self, number: u64, claims: Option<Arc<str>>) -> bool {
        let mut state = self.lock();
        let Some(current) = self.current.load_full().filter(|current| current.number == number)
        else {
            return false;
        };
        self.replace(None);
        state.rejected = Some(Rejected { token: current.token.clone(), number, claims });
        // The first fetch after a rejection is not held back by a renewal that failed, unless the
        // server asked for it.
        let is_forgiven = |f: &Failure| f.is_of_renewal && f.error.retry_after().is_none();
        let over = match &state.failure {
            Some(failure) if is_forgiven(failure) => state.end_failures(),
            _ => Over::default(),
        };
        drop(state);
        over.tell();
        tracing::info!(number, "token was rejected");
        self.changed.notify_waiters();
        true
    }

    /// Whether a token that was granted a while ago has been rejected since, or has ended.
    pub(super) fn is_over(&self, grant: &Grant) -> bool {
        grant.good_until.is_some_and(|end| Instant::now() >= end)
            || self.lock().rejected.as_ref().is_some_and(|known| known.number == grant.number)
    }

    /// Takes in what a flight brought.
    pub(super) fn land(
        &self,
        id: u64,
        request: &TokenRequest,
        version: u64,
        result: Result<AccessToken, TokenError>,
        schedule: &Schedule,
    ) -> Landing {
        let now = Instant::now();
        let mut state = self.lock();
        if !state.is_awaiting(id) {
            // All was forgotten meanwhile. It is for those who waited, and changes nothing.
            drop(state);
            let issue = |token| Arc::new(Current::issue(token, &self.credentials, schedule));
            return Landing::Down(result.map(issue));
        }
        let current = self.usable(now);

        if let Some(rejected) = state.rejected_since(request, &result) {
            return Landing::Again(self.request_after(rejected));
        }

        state.flight = None;
        let (outcome, news) = match result {
            Ok(token) => {
                let next = Arc::new(Current::issue(token, &self.credentials, schedule));
                match current {
                    Some(current) if next.lives_no_longer_than(&current) => {
                        state.failures = state.failures.saturating_add(1);
                        let wait = schedule.window(true, state.failures, None);
                        let wait = wait.max(current.left(now) / 10);
                        current.put_off_renewal(now + wait);
                        (Ok(current), News::NoLongerLife { wait })
                    }
                    _ => {
                        state.rejected = None;
                        let over = state.end_failures();
                        // One that is of no use any more is for those who waited, and then gone.
                        self.replace((!next.came_too_late).then(|| next.clone()));
                        let (number, lifetime) = (next.number, next.token.lifetime());
                        (Ok(next), News::Arrived { number, lifetime, over })
                    }
                }
            }
            Err(error) => {
                let (error, news) = state.fail(error, version, current, now, schedule);
                (Err(error), news)
            }
        };
        drop(state);
        news.tell();
        self.changed.notify_waiters();
        Landing::Down(outcome)
    }

    /// Takes back a flight that ended without landing.
    pub(super) fn lose(&self, id: u64, error: TokenError, is_takeover: bool, schedule: &Schedule) {
        let now = Instant::now();
        let mut state = self.lock();
        if !state.is_awaiting(id) {
            return;
        }
        state.flight = None;
        let current = self.usable(now);
        // The first time, one of those who waited takes over at once.
        let news = (is_takeover || current.is_some())
            .then(|| state.fail(error, 0, current, now, schedule).1);
        drop(state);
        if let Some(news) = news {
            news.tell();
        }
        self.changed.notify_waiters();
    }

    /// When a task that keeps this slot warm is to look at it again.
    pub(super) fn next_look(&self) -> Instant {
        let now = Instant::now();
        let state = self.lock();
        if let Some(current) = self.usable(now) {
            return current.due();
        }
        if state.rejected.is_some() && state.failure.is_none() {
            // It was rejected after the last look, and before anybody listened.
            return now;
        }
        // Tokens that are gone at once, or failures that nobody remembers, are no reason to spin.
        let soon = now + Duration::from_secs(1);
        let until = state.failure.as_ref().map_or(soon, |failure| failure.until);
        until.max(soon)
    }

    /// Back to the beginning. A flight that is on its way finds that nobody awaits it.
    pub(super) fn forget(&self) {
        let mut state = self.lock();
        self.replace(None);
        let over = std::mem::take(&mut *state).end_failures();
        drop(state);
        over.tell();
        self.changed.notify_waiters();
    }

    pub(super) fn retire(&self) {
        self.is_retired.store(true, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    pub(super) fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Relaxed)
    }

    /// Whether `current` is still what callers are to be given, or was for those who waited only.
    pub(super) fn stands_by(&self, current: &Current) -> bool {
        let is_the_one = |it: &Arc<Current>| it.number == current.number;
        current.came_too_late || self.usable(Instant::now()).as_ref().is_some_and(is_the_one)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // No code of others runs under the lock, and none of ours leaves a state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usable(&self, now: Instant) -> Option<Arc<Current>> {
        self.current.load_full().filter(|current| current.is_usable(now))
    }
}

impl Drop for Slot {
    /// Not under a lock of those who kept it.
    fn drop(&mut self) {
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner).end_failures().tell();
    }
}
