//! The state of one token: the one that is handed out, the one that was rejected, the failure that
//! is remembered, the flight that is on its way.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};
use http::HeaderValue;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::flight::Flight;
use super::schedule::{Milestones, Schedule};
use crate::credentials::ClientCredentials;
use crate::error::TokenError;
use crate::request::{Cause, TokenRequest};
use crate::token::{AccessToken, Issue};

/// A renewal is on its way: nobody else is to begin one.
const CLAIMED: u64 = u64::MAX;

/// For tokens that do not end: 30 years.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

static NUMBERS: AtomicU64 = AtomicU64::new(1);

#[derive(Debug)]
pub(super) struct Slot {
    credentials: ClientCredentials,
    current: ArcSwapOption<Current>,
    /// Never held across an await, nor while code of others runs.
    state: Mutex<State>,
    /// Told of whatever a task that keeps this slot warm would want to look at.
    pub(super) changed: Notify,
    pub(super) is_kept_warm: AtomicBool,
    is_retired: AtomicBool,
    /// Milliseconds on the clock of whoever keeps many slots.
    pub(super) last_used: AtomicU64,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) flight: Option<Flight>,
    /// Stays known until another token arrives.
    rejected: Option<Rejected>,
    failure: Option<Failure>,
    /// Failures in a row, of one class.
    failures: u32,
}

/// A token as it was issued here.
#[derive(Debug)]
pub(crate) struct Current {
    header: HeaderValue,
    number: u64,
    /// Until then there is nothing to do but to hand it out.
    fresh_until: Instant,
    /// When to renew it, once it is not fresh: nanoseconds after it was requested, or `CLAIMED`.
    due: AtomicU64,
    /// From here on it is not handed out.
    end: Instant,
    token: AccessToken,
}

/// A token that an API does not take, and the claims that it wants the next one to have.
#[derive(Clone, Debug)]
struct Rejected {
    token: AccessToken,
    number: u64,
    claims: Option<Arc<str>>,
}

#[derive(Debug)]
struct Failure {
    error: TokenError,
    until: Instant,
    /// The credentials' version that a permanent failure holds for.
    version: Option<u64>,
    /// While there was a valid token to go on with.
    is_of_renewal: bool,
}

/// What is handed out for one request.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) header: HeaderValue,
    pub(crate) number: u64,
}

/// A token that is looked at where it is: nothing of it is counted or copied before it is used.
/// To be let go of before the request goes out.
pub(crate) struct Hit(Guard<Option<Arc<Current>>>);

impl Hit {
    #[inline]
    fn current(&self) -> &Current {
        self.0.as_deref().expect("a hit has a token")
    }

    #[inline]
    pub(crate) fn header(&self) -> &HeaderValue {
        &self.current().header
    }

    #[inline]
    pub(crate) fn number(&self) -> u64 {
        self.current().number
    }

    pub(crate) fn grant(&self) -> Grant {
        self.current().grant()
    }

    pub(super) fn into_current(self) -> Arc<Current> {
        Guard::into_inner(self.0).expect("a hit has a token")
    }
}

pub(super) enum Peek {
    Hit(Hit),
    /// As `Hit`, and it falls to the caller to see to the renewal.
    Due(Hit),
    Miss,
}

/// What a token that is no longer fresh is good for.
enum Stale {
    Usable,
    Due,
    Gone,
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
    Down(Result<Arc<Current>, TokenError>),
    /// It brought what was rejected while it was on its way; once more.
    Again(TokenRequest),
}

impl Current {
    fn issue(token: AccessToken, credentials: &ClientCredentials, schedule: &Schedule) -> Self {
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let lifetime = token.lifetime().or(credentials.lifetime_unless_told());
        let Milestones { due, end } = schedule.milestones(&token, lifetime);
        let (due, end) = (due.unwrap_or(FOREVER), end.unwrap_or(FOREVER));
        let requested_at = token.requested_at();
        let mut token = token.issued(Issue { number, credentials: credentials.clone() });
        if let Some(lifetime) = lifetime {
            token = token.with_expires_in(lifetime);
        }
        Self {
            header: token.header_value().clone(),
            number,
            fresh_until: requested_at + due.min(end),
            due: AtomicU64::new(nanos(due)),
            end: requested_at + end,
            token,
        }
    }

    pub(super) fn token(&self) -> &AccessToken {
        &self.token
    }

    pub(super) fn grant(&self) -> Grant {
        Grant { header: self.header.clone(), number: self.number }
    }

    fn age(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.token.requested_at()))
    }

    fn is_usable(&self, now: Instant) -> bool {
        now < self.end
    }

    /// When to look at it again.
    fn due(&self) -> Instant {
        let due = Duration::from_nanos(self.due.load(Ordering::Relaxed)).min(FOREVER);
        (self.token.requested_at() + due).min(self.end)
    }

    /// Past its freshness: still to be handed out, or not; the renewal falls to one caller.
    #[cold]
    fn stale(&self, now: Instant) -> Stale {
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

    fn put_off_renewal(&self, until: Instant) {
        self.due.store(self.age(until), Ordering::Relaxed);
    }
}

impl Slot {
    pub(super) fn new(credentials: ClientCredentials) -> Self {
        Self {
            credentials,
            current: ArcSwapOption::empty(),
            state: Mutex::default(),
            changed: Notify::new(),
            is_kept_warm: AtomicBool::new(false),
            is_retired: AtomicBool::new(false),
            last_used: AtomicU64::new(0),
        }
    }

    pub(super) fn credentials(&self) -> &ClientCredentials {
        &self.credentials
    }

    /// The hit: an atomic load and a comparison.
    #[inline]
    pub(super) fn peek(&self, now: Instant) -> Peek {
        let guard = self.current.load();
        let Some(current) = &*guard else {
            return Peek::Miss;
        };
        if now < current.fresh_until {
            return Peek::Hit(Hit(guard));
        }
        match current.stale(now) {
            Stale::Usable => Peek::Hit(Hit(guard)),
            Stale::Due => Peek::Due(Hit(guard)),
            Stale::Gone => Peek::Miss,
        }
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
                let error = failure.error.clone().remembered(remaining);
                return match failure.version {
                    Some(version) => Miss::RememberedFor(version, error),
                    None => Miss::Remembered(error),
                };
            }
        }
        Miss::Board(match &state.rejected {
            Some(rejected) => self.request_after(rejected),
            None => TokenRequest::new(self.credentials.clone()),
        })
    }

    /// Forgets a permanent failure of credentials that have changed since.
    pub(super) fn forgive(&self, version: u64) {
        let mut state = self.lock();
        if state.failure.as_ref().is_some_and(|failure| failure.version == Some(version)) {
            state.failure = None;
            state.failures = 0;
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

    /// The request of a renewal, unless there is nothing to renew or it is on its way.
    pub(super) fn renewal(&self, state: &State) -> Option<TokenRequest> {
        let current = self.usable(Instant::now())?;
        if state.flight.is_some() {
            return None;
        }
        let request = TokenRequest::new(self.credentials.clone());
        Some(request.in_place_of(current.token.clone(), Cause::Renewal))
    }

    /// Gives back a renewal that could not begin.
    pub(super) fn put_off_renewal(&self, wait: Duration) {
        if let Some(current) = &*self.current.load() {
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
        self.current.store(None);
        state.rejected = Some(Rejected { token: current.token.clone(), number, claims });
        // The first fetch after a rejection is not held back by a renewal that failed, unless the
        // server asked for it.
        if state
            .failure
            .as_ref()
            .is_some_and(|f| f.is_of_renewal && f.error.retry_after().is_none())
        {
            state.failure = None;
            state.failures = 0;
        }
        drop(state);
        tracing::info!(number, "token was rejected");
        self.changed.notify_waiters();
        true
    }

    /// Whether this is the token that was rejected last, and not yet replaced.
    pub(super) fn is_rejected(&self, number: u64) -> bool {
        self.lock().rejected.as_ref().is_some_and(|rejected| rejected.number == number)
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
                    Some(current) if next.end <= current.end => {
                        state.failures = state.failures.saturating_add(1);
                        let left = current.end - now;
                        let wait = schedule.window(true, state.failures, None).max(left / 10);
                        current.put_off_renewal(now + wait);
                        (Ok(current), News::NoLongerLife { wait })
                    }
                    _ => {
                        state.rejected = None;
                        state.failure = None;
                        state.failures = 0;
                        // One that is of no use any more is for those who waited, and then gone.
                        self.current.store(next.is_usable(now).then(|| next.clone()));
                        let news =
                            News::Arrived { number: next.number, lifetime: next.token.lifetime() };
                        (Ok(next), news)
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
        // Tokens that are gone at once, or failures that nobody remembers, are no reason to spin.
        let soon = now + Duration::from_secs(1);
        let until = state.failure.as_ref().map_or(soon, |failure| failure.until);
        until.max(soon)
    }

    /// Back to the beginning. A flight that is on its way finds that nobody awaits it.
    pub(super) fn forget(&self) {
        let mut state = self.lock();
        self.current.store(None);
        *state = State::default();
        drop(state);
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
    pub(super) fn stands_by(&self, current: &Arc<Current>) -> bool {
        !current.is_usable(Instant::now())
            || self.current.load().as_ref().is_some_and(|now| now.number == current.number)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // No code of others runs under the lock, and none of ours leaves a state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usable(&self, now: Instant) -> Option<Arc<Current>> {
        self.current.load_full().filter(|current| current.is_usable(now))
    }
}

impl State {
    fn is_awaiting(&self, id: u64) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.id() == id)
    }

    /// The token that an API rejected while this flight, which began before, was on its way, if what
    /// the flight brought is of no use for that reason.
    fn rejected_since(
        &self,
        request: &TokenRequest,
        result: &Result<AccessToken, TokenError>,
    ) -> Option<&Rejected> {
        let rejected = self.rejected.as_ref().filter(|_| request.cause() != Cause::Rejected)?;
        let is_of_no_use = match result {
            Ok(token) => token.has_same_secret_as(&rejected.token),
            // A renewal that failed does not hold back the first fetch after a rejection.
            Err(error) => request.cause() == Cause::Renewal && error.retry_after().is_none(),
        };
        is_of_no_use.then_some(rejected)
    }

    fn fail(
        &mut self,
        error: TokenError,
        version: u64,
        current: Option<Arc<Current>>,
        now: Instant,
        schedule: &Schedule,
    ) -> (TokenError, News) {
        let is_transient = error.is_transient();
        let is_same_class =
            self.failure.as_ref().is_none_or(|failure| failure.version.is_none() == is_transient);
        self.failures = if is_same_class { self.failures.saturating_add(1) } else { 1 };
        let window = schedule.window(is_transient, self.failures, error.retry_after());
        let until = now + window;
        if let Some(current) = &current {
            current.put_off_renewal(until);
        }
        let news = News::Failed { error: error.clone(), window, is_of_renewal: current.is_some() };
        self.failure = Some(Failure {
            error: error.clone(),
            until,
            version: (!is_transient).then_some(version),
            is_of_renewal: current.is_some(),
        });
        let error = if window.is_zero() { error } else { error.with_retry_in(window) };
        (error, news)
    }
}

/// What is traced once the lock is given back: whoever listens may come back for a token.
enum News {
    Arrived { number: u64, lifetime: Option<Duration> },
    NoLongerLife { wait: Duration },
    Failed { error: TokenError, window: Duration, is_of_renewal: bool },
}

impl News {
    fn tell(self) {
        match self {
            Self::Arrived { number, lifetime } => {
                tracing::debug!(number, ?lifetime, "token arrived");
            }
            Self::NoLongerLife { wait } => {
                tracing::debug!(?wait, "renewed token lives no longer than the present one");
            }
            Self::Failed { error, window, is_of_renewal: true } => {
                tracing::warn!(%error, retry_in = ?window, "token could not be renewed");
            }
            Self::Failed { error, window, is_of_renewal: false } => {
                tracing::warn!(%error, retry_in = ?window, "token could not be had");
            }
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    // Room for 584 years, and nothing lasts longer than `FOREVER`.
    duration.as_secs().saturating_mul(1_000_000_000) + u64::from(duration.subsec_nanos())
}
