//! Records each request on the caller's and the API's side, and compares both records.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tower_oauth2::replay::{NotReplayed, Replayed};

/// The longest time from the cancellation of a request to its arrival at the API.
const GRACE: Duration = Duration::from_secs(15);

/// Clones share their state.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    entries: HashMap<u64, Entry>,
    counts: BTreeMap<String, u64>,
    broken: Vec<String>,
}

struct Entry {
    /// The length of the body.
    len: usize,
    /// Whether its tokens come from a store. If so, it may be sent three times, because the second
    /// token may be an old one. The failing store may even return the token that was rejected.
    has_store: bool,
    arrivals: Vec<Arrival>,
    /// When the request ended for its caller, and how.
    closed: Option<(Instant, Outcome)>,
}

struct Arrival {
    token: u64,
    status: Option<u16>,
    /// Whether the API has read the whole body without an error.
    is_whole: bool,
}

/// The result that a caller gets.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Answered {
        status: u16,
        replayed: Option<Replayed>,
    },
    /// No token was available. `has_rejected` is set if an earlier token was rejected.
    NoToken {
        kind: String,
        has_rejected: bool,
    },
    /// The connection was closed before the end of the response.
    Failed,
    Canceled,
}

impl Ledger {
    /// Records that a caller starts a request.
    pub(crate) fn open(&self, id: u64, len: usize, has_store: bool) {
        let entry = Entry { len, has_store, arrivals: Vec::new(), closed: None };
        self.lock().entries.insert(id, entry);
    }

    /// Records that a request arrives at the API with the token of this number. Returns the index
    /// of the arrival and the expected length of the body, or `None` if the request has already
    /// ended.
    pub(crate) fn arrive(&self, id: u64, token: u64) -> Option<(usize, usize)> {
        let mut state = self.lock();
        let State { entries, broken, .. } = &mut *state;
        let Some(entry) = entries.get_mut(&id) else {
            broken.push(format!("request {id} arrives after its caller got the result"));
            return None;
        };
        let index = entry.arrivals.len();
        if let Some(Arrival { status, .. }) =
            entry.arrivals.iter().find(|arrival| arrival.status != Some(401))
        {
            broken.push(format!("request {id} is resent after {status:?}"));
        }
        let is_same = entry.arrivals.last().is_some_and(|last| last.token == token);
        if is_same && !entry.has_store {
            broken.push(format!("request {id} is resent with the same token"));
        }
        if index >= if entry.has_store { 3 } else { 2 } {
            broken.push(format!("request {id} is sent {} times", index + 1));
        }
        entry.arrivals.push(Arrival { token, status: None, is_whole: false });
        let len = entry.len;
        state.count(if index == 0 { "requests sent" } else { "requests resent" });
        if is_same {
            state.count("requests resent with the rejected token, which the store returned");
        }
        Some((index, len))
    }

    /// Records the API's response. `is_whole` is set if it has read the whole body.
    pub(crate) fn answer(&self, id: u64, index: usize, status: u16, is_whole: bool) {
        if let Some(entry) = self.lock().entries.get_mut(&id) {
            let arrival = &mut entry.arrivals[index];
            arrival.status = Some(status);
            arrival.is_whole = is_whole;
        }
    }

    /// Records the result that a caller got.
    pub(crate) fn close(&self, id: u64, outcome: Outcome) {
        let mut state = self.lock();
        let name = outcome.name();
        state.count(&name);
        let entry = state.entries.get_mut(&id).expect("the caller has opened the request");
        let is_final = matches!(outcome, Outcome::Answered { .. } | Outcome::NoToken { .. });
        entry.closed = Some((Instant::now(), outcome));
        if is_final {
            // The request cannot arrive again.
            state.settle(id);
        }
    }

    /// Settles requests that ended long ago, so that entries do not accumulate.
    pub(crate) fn settle_old(&self) {
        let mut state = self.lock();
        let is_old =
            |entry: &Entry| entry.closed.as_ref().is_some_and(|(at, _)| at.elapsed() > GRACE);
        let old: Vec<_> =
            state.entries.iter().filter(|(_, entry)| is_old(entry)).map(|(id, _)| *id).collect();
        old.into_iter().for_each(|id| state.settle(id));
    }

    /// Records a broken promise.
    pub(crate) fn broken(&self, what: impl Into<String>) {
        self.lock().broken.push(what.into());
    }

    pub(crate) fn count(&self, what: &str) {
        self.lock().count(what);
    }

    /// Settles all requests. Returns the counts and the broken promises.
    pub(crate) fn conclude(&self) -> (BTreeMap<String, u64>, Vec<String>) {
        let mut state = self.lock();
        let all: Vec<_> = state.entries.keys().copied().collect();
        all.into_iter().for_each(|id| state.settle(id));
        let State { counts, broken, .. } = std::mem::take(&mut *state);
        (counts, broken)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count(&mut self, what: &str) {
        match self.counts.get_mut(what) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert(what.to_owned(), 1);
            }
        }
    }

    /// Compares what the caller and the API saw of a request, and removes it.
    fn settle(&mut self, id: u64) {
        let Some(Entry { arrivals, closed, .. }) = self.entries.remove(&id) else { return };
        let Some((_, outcome)) = closed else {
            self.broken.push(format!("request {id} never ended"));
            return;
        };
        if let Err(why) = outcome.agrees_with(&arrivals) {
            self.broken.push(format!("request {id}: the caller saw {outcome:?}, but {why}"));
        }
    }
}

impl Outcome {
    fn agrees_with(&self, arrivals: &[Arrival]) -> Result<(), String> {
        let statuses: Vec<_> = arrivals.iter().map(|arrival| arrival.status).collect();
        let are_all_rejected = statuses.iter().all(|status| *status == Some(401));
        let agrees = match self {
            Self::Answered { status, replayed } => {
                let last = arrivals.last().is_some_and(|last| {
                    last.status == Some(*status) && (*status != 200 || last.is_whole)
                });
                last && match replayed {
                    None => arrivals.len() == 1 && *status != 401,
                    Some(Replayed::No(_)) => arrivals.len() == 1 && *status == 401,
                    Some(_) => arrivals.len() > 1,
                }
            }
            Self::NoToken { has_rejected, .. } => {
                are_all_rejected && arrivals.is_empty() != *has_rejected
            }
            // The API may have responded, and the response was lost.
            Self::Failed | Self::Canceled => true,
        };
        if agrees { Ok(()) } else { Err(format!("the API responded with {statuses:?}")) }
    }

    fn name(&self) -> String {
        match self {
            Self::Answered { status, replayed: None } => format!("status {status}"),
            Self::Answered { status, replayed: Some(Replayed::Yes) } => {
                format!("status {status} after a replay")
            }
            Self::Answered { replayed: Some(Replayed::No(NotReplayed::Body)), .. } => {
                "status 401, body too long for a replay".to_owned()
            }
            Self::Answered { replayed: Some(_), .. } => {
                "status 401, not replayed because fresh tokens are rejected".to_owned()
            }
            Self::NoToken { kind, has_rejected: false } => format!("no token: {kind}"),
            Self::NoToken { kind, has_rejected: true } => format!("no token for a replay: {kind}"),
            Self::Failed => "connection closed".to_owned(),
            Self::Canceled => "canceled by the caller".to_owned(),
        }
    }
}
