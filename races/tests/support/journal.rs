//! Records what happens, in order, and asserts the invariants that hold at all times.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use races_std::without_points;
use tokio::time::Instant;
use tower_oauth2_races::source::Cause;
use tower_oauth2_races::{AccessToken, TokenRequest};

use super::{USABLE, call_of};

/// The longest time for which hits do not read the wall clock (C5).
const WALL_CLOCK_INTERVAL: Duration = Duration::from_millis(250);

/// A shared record of an execution.
///
/// Its lock is a real one: the tasks of an execution run on one thread, and none of them is
/// interrupted within a lock that shuttle does not know.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    last_moment: u64,
    calls: Vec<Call>,
    rejections: Vec<Rejection>,
    /// How often each slot was removed or cleared. Its fetch goes on, and may call the source later
    /// than its successor.
    removals: BTreeMap<String, usize>,
    wall_clock_steps: Vec<WallClockStep>,
    /// The calls whose tokens have been handed out before their end.
    arrived_in_time: Vec<usize>,
}

/// A call of the source: one token request.
#[derive(Clone, Debug)]
pub struct Call {
    pub id: String,
    pub cause: Cause,
    /// The token that the request replaces.
    pub previous: Option<String>,
    pub began: u64,
    pub ended: Option<u64>,
    pub request: TokenRequest,
    /// The time at which the token was requested, by both clocks.
    requested_at: (Instant, SystemTime),
    /// The fetch had been replaced before this call began.
    began_superseded: bool,
}

struct Rejection {
    moment: u64,
    call: usize,
    secret: String,
}

/// The wall clock was moved apart from the monotonic clock.
struct WallClockStep {
    at: Instant,
    /// The reading before the step and after it.
    from: SystemTime,
    to: SystemTime,
}

/// The beginning of a poll.
#[derive(Clone, Copy)]
pub struct PollStart {
    moment: u64,
    mono: Instant,
    wall: SystemTime,
}

/// A call of the source that is in progress. It ends when this is dropped.
pub struct CallInProgress {
    journal: Journal,
    pub number: usize,
}

impl Journal {
    /// Returns the number of the next moment. Moments are in the order of an execution.
    pub fn moment(&self) -> u64 {
        let mut entries = self.entries();
        entries.last_moment += 1;
        entries.last_moment
    }

    pub fn poll_start(&self) -> PollStart {
        let wall = manual_wall_clock::now();
        PollStart { moment: self.moment(), mono: Instant::now(), wall }
    }

    pub fn calls(&self) -> Vec<Call> {
        self.entries().calls.clone()
    }

    /// Returns the number of calls of the source.
    pub fn count(&self) -> usize {
        self.entries().calls.len()
    }

    pub fn causes(&self) -> Vec<Cause> {
        self.entries().calls.iter().map(|call| call.cause).collect()
    }

    /// Records the beginning of a call. The first call has the number 1.
    ///
    /// Asserts C2: each slot has at most one live token request, besides those from before a
    /// removal.
    pub fn begin_call(&self, request: &TokenRequest) -> CallInProgress {
        let began = self.moment();
        let id = request.credentials().client_id().unwrap_or_default().to_owned();
        let mut entries = self.entries();
        let began_superseded = without_points(|| request.is_superseded());
        if !began_superseded {
            let others = entries.live_calls(&id);
            let removals = entries.removals.get(&id).copied().unwrap_or_default();
            assert!(others <= removals, "{others} other live token requests for {id}");
        }
        entries.calls.push(Call {
            id,
            cause: request.cause(),
            previous: request.token().map(|token| token.secret().to_owned()),
            began,
            ended: None,
            request: request.clone(),
            requested_at: (Instant::now(), manual_wall_clock::now()),
            began_superseded,
        });
        CallInProgress { journal: self.clone(), number: entries.calls.len() }
    }

    /// Returns the number of token requests in progress whose fetch has not been replaced.
    pub fn live_calls(&self, id: &str) -> usize {
        self.entries().live_calls(id)
    }

    /// Records that a token has just been rejected.
    pub fn record_rejection(&self, token: &AccessToken) {
        let (moment, call) = (self.moment(), call_of(token));
        let secret = token.secret().to_owned();
        self.entries().rejections.push(Rejection { moment, call, secret });
    }

    /// Records that a slot is about to be removed or cleared.
    pub fn record_removal(&self, id: &str) {
        *self.entries().removals.entry(id.to_owned()).or_default() += 1;
    }

    /// Records that the wall clock has just been moved.
    pub fn record_wall_clock_step(&self, from: SystemTime, to: SystemTime) {
        let at = Instant::now();
        self.entries().wall_clock_steps.push(WallClockStep { at, from, to });
    }

    /// Returns whether a token that was handed out has expired, or had on arrival.
    pub fn is_over(&self, token: &AccessToken) -> bool {
        let (entries, number) = (self.entries(), call_of(token));
        let (mono, wall) = entries.calls[number - 1].end();
        let is_over = Instant::now() >= mono || manual_wall_clock::now() >= wall;
        is_over || !entries.arrived_in_time.contains(&number)
    }

    /// Asserts that a poll may return this token.
    pub fn assert_may_be_handed_out(&self, token: &AccessToken, start: PollStart) {
        let mut entries = self.entries();
        entries.assert_not_rejected(token, start);
        entries.assert_not_replaced(token, start);
        entries.assert_not_over(token, start);
    }

    /// Asserts that a poll may take this token from the cache for a request.
    pub fn assert_may_be_sent(&self, token: &AccessToken, start: PollStart) {
        self.entries().assert_not_rejected(token, start);
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap()
    }
}

impl Entries {
    fn live_calls(&self, id: &str) -> usize {
        let in_progress = self.calls.iter().filter(|call| call.id == id && call.ended.is_none());
        without_points(|| in_progress.filter(|call| !call.request.is_superseded()).count())
    }

    /// Asserts that the token was not rejected before the poll (C8). It must not be older than a
    /// rejected token, and must not have the same text from a token request that was in progress at
    /// the rejection.
    fn assert_not_rejected(&self, token: &AccessToken, start: PollStart) {
        let (secret, number) = (token.secret(), call_of(token));
        let call = &self.calls[number - 1];
        let is_same_slot = |rejection: &&Rejection| self.calls[rejection.call - 1].id == call.id;
        let earlier = self.rejections.iter().filter(|rejection| rejection.moment < start.moment);
        for rejection in earlier.filter(is_same_slot) {
            assert_ne!(rejection.call, number, "{secret} is handed out after its rejection");
            // Those who waited for a token that arrived too late may use it at any time.
            let is_kept = self.arrived_in_time.contains(&number);
            let is_removed = self.removals.contains_key(&call.id);
            assert!(
                number > rejection.call || is_removed || !is_kept,
                "{secret} is handed out after the rejection of a newer token"
            );
            let was_in_progress = call.began < rejection.moment
                && call.ended.is_none_or(|ended| ended > rejection.moment);
            assert!(
                rejection.secret != secret || !was_in_progress || call.cause == Cause::Rejected,
                "{secret} is handed out again, from a token request before the rejection"
            );
        }
    }

    /// Asserts that no later token request shows that this token has ended (C5). A token request
    /// has the cause `Cold` only if the slot has no token.
    fn assert_not_replaced(&self, token: &AccessToken, start: PollStart) {
        let number = call_of(token);
        let call = &self.calls[number - 1];
        let mut later = self.calls[number..].iter();
        let shows_end = |later: &Call| {
            let is_cold = later.cause == Cause::Cold && !later.began_superseded;
            is_cold && later.id == call.id && later.began < start.moment
        };
        let is_kept = self.arrived_in_time.contains(&number);
        let is_removed = self.removals.contains_key(&call.id);
        assert!(
            is_removed || !is_kept || !later.any(shows_end),
            "{} is handed out after a token request that found none",
            token.secret()
        );
    }

    /// Asserts that the token has not ended by either clock (C5). Callers that waited for a token
    /// that arrived too late may get it. Hits may notice a step of the wall clock after 250 ms.
    fn assert_not_over(&mut self, token: &AccessToken, start: PollStart) {
        let number = call_of(token);
        let (mono_end, wall_end) = self.calls[number - 1].end();
        let is_recent = |step: &&WallClockStep| start.mono < step.at + WALL_CLOCK_INTERVAL;
        let recent = self.wall_clock_steps.iter().filter(is_recent);
        // The earliest reading of the wall clock that a hit may still go by.
        let wall = recent.fold(start.wall, |wall, step| wall.min(step.from).min(step.to));
        if self.arrived_in_time.contains(&number) {
            assert!(start.mono < mono_end, "{} is handed out after its end", token.secret());
            assert!(wall < wall_end, "{} is handed out after a suspend", token.secret());
        } else if Instant::now() < mono_end && manual_wall_clock::now() < wall_end {
            self.arrived_in_time.push(number);
        }
    }
}

impl Call {
    /// Returns the time from which on the token is not handed out, by both clocks.
    fn end(&self) -> (Instant, SystemTime) {
        let (mono, wall) = self.requested_at;
        (mono + USABLE, wall + USABLE)
    }
}

impl Drop for CallInProgress {
    fn drop(&mut self) {
        // The lock is poisoned once an invariant has failed.
        if let Ok(mut entries) = self.journal.0.lock() {
            entries.last_moment += 1;
            let moment = entries.last_moment;
            entries.calls[self.number - 1].ended = Some(moment);
        }
    }
}
