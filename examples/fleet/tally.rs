//! The counters of a simulation.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tower_oauth2::source::Cause;

use crate::clients::Answer;
use crate::day::Plan;

#[derive(Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A counter for each second of the day.
pub(crate) struct Seconds(Vec<AtomicU32>);

impl Seconds {
    fn new(plan: &Plan) -> Self {
        Self((0..plan.length().as_secs()).map(|_| AtomicU32::new(0)).collect())
    }

    /// Counts an event. Events after the end of the day are ignored.
    fn count(&self, at: Duration) {
        let second = usize::try_from(at.as_secs()).unwrap_or(usize::MAX);
        if let Some(second) = self.0.get(second) {
            second.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn to_vec(&self) -> Vec<u32> {
        self.0.iter().map(|second| second.load(Ordering::Relaxed)).collect()
    }
}

pub(crate) struct Tally {
    pub(crate) token_requests: Seconds,
    /// Token requests that got a 503.
    pub(crate) unavailable: Count,
    /// Token requests of this crate by callers that had no valid token.
    pub(crate) cold: Count,
    /// Token requests of this crate for a renewal.
    pub(crate) renewal: Count,
    /// Token requests of this crate after a rejection.
    pub(crate) rejected: Count,
    /// Store operations.
    pub(crate) store: Seconds,
    /// Store operations that request a lease.
    pub(crate) store_locks: Count,
    /// Requests at the API, including resent ones.
    pub(crate) api_requests: Count,
    pub(crate) api_refused: Count,
    /// Calls by the processes.
    pub(crate) calls: Count,
    pub(crate) unauthorized: Count,
    pub(crate) without_token: Count,
    pub(crate) waited: Count,
    /// The longest wait for a token, in milliseconds.
    pub(crate) longest_wait: AtomicU64,
    /// The sum of all waits for a token, in milliseconds.
    pub(crate) all_waits: Count,
}

impl Tally {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            token_requests: Seconds::new(plan),
            unavailable: Count::default(),
            cold: Count::default(),
            renewal: Count::default(),
            rejected: Count::default(),
            store: Seconds::new(plan),
            store_locks: Count::default(),
            api_requests: Count::default(),
            api_refused: Count::default(),
            calls: Count::default(),
            unauthorized: Count::default(),
            without_token: Count::default(),
            waited: Count::default(),
            longest_wait: AtomicU64::new(0),
            all_waits: Count::default(),
        }
    }

    pub(crate) fn token_request(&self, at: Duration, is_unavailable: bool) {
        self.token_requests.count(at);
        self.unavailable.add(is_unavailable.into());
    }

    pub(crate) fn cause(&self, cause: Cause) {
        match cause {
            Cause::Renewal => self.renewal.add(1),
            Cause::Rejected => self.rejected.add(1),
            _ => self.cold.add(1),
        }
    }

    pub(crate) fn store_operation(&self, at: Duration, is_lock: bool) {
        self.store.count(at);
        self.store_locks.add(is_lock.into());
    }

    pub(crate) fn api_request(&self, is_accepted: bool) {
        self.api_requests.add(1);
        self.api_refused.add((!is_accepted).into());
    }

    pub(crate) fn call(&self, answer: Answer, waited: Duration) {
        self.calls.add(1);
        match answer {
            Answer::Done => {}
            Answer::Unauthorized => self.unauthorized.add(1),
            Answer::NoToken => self.without_token.add(1),
        }
        if !waited.is_zero() {
            let waited = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
            self.waited.add(1);
            self.all_waits.add(waited);
            self.longest_wait.fetch_max(waited, Ordering::Relaxed);
        }
    }
}
