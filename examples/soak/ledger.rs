//! Every request, as its caller sees it and as the API does.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tower_oauth2::replay::{NotReplayed, Replayed};

/// How long after its caller is gone a request may still arrive.
const GRACE: Duration = Duration::from_secs(15);

/// Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    entries: HashMap<u64, Entry>,
    counts: BTreeMap<String, u64>,
    broken: Vec<String>,
}

struct Entry {
    /// How long its body is.
    len: usize,
    /// Its tokens come by way of a store. It may be sent three times then, for the second token may be an old one, and
    /// the flapping store may bring back the very one that was rejected.
    has_store: bool,
    arrivals: Vec<Arrival>,
    /// When its caller was done with it, and what came of it.
    closed: Option<(Instant, Outcome)>,
}

struct Arrival {
    token: u64,
    status: Option<u16>,
    /// All of its body was read, and it is the right one.
    is_whole: bool,
}

/// What a caller sees.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Answered {
        status: u16,
        replayed: Option<Replayed>,
    },
    /// No token was to be had. Whether an earlier one was rejected.
    NoToken {
        kind: String,
        has_rejected: bool,
    },
    /// The connection broke, before or in the response.
    Failed,
    GaveUp,
}

impl Ledger {
    /// A caller begins to send a request.
    pub(crate) fn open(&self, id: u64, len: usize, has_store: bool) {
        let entry = Entry { len, has_store, arrivals: Vec::new(), closed: None };
        self.lock().entries.insert(id, entry);
    }

    /// A request arrives at the API, with the token of this number. How long its body is to be; none for one
    /// that nobody can have sent.
    pub(crate) fn arrive(&self, id: u64, token: u64) -> Option<(usize, usize)> {
        let mut state = self.lock();
        let State { entries, broken, .. } = &mut *state;
        let Some(entry) = entries.get_mut(&id) else {
            broken.push(format!("request {id} arrives after its caller has had its answer"));
            return None;
        };
        let place = entry.arrivals.len();
        if let Some(Arrival { status, .. }) =
            entry.arrivals.iter().find(|arrival| arrival.status != Some(401))
        {
            broken.push(format!("request {id} is sent again after {status:?}"));
        }
        let is_same = entry.arrivals.last().is_some_and(|last| last.token == token);
        if is_same && !entry.has_store {
            broken.push(format!("request {id} is sent again with the same token"));
        }
        if place >= if entry.has_store { 3 } else { 2 } {
            broken.push(format!("request {id} is sent for time number {}", place + 1));
        }
        entry.arrivals.push(Arrival { token, status: None, is_whole: false });
        let len = entry.len;
        state.count(if place == 0 { "sent for the first time" } else { "sent again" });
        if is_same {
            state.count("sent again with a token that the store brought back");
        }
        Some((place, len))
    }

    /// The API is about to answer. `is_whole` if it has read all of the body.
    pub(crate) fn answer(&self, id: u64, place: usize, status: u16, is_whole: bool) {
        if let Some(entry) = self.lock().entries.get_mut(&id) {
            let arrival = &mut entry.arrivals[place];
            arrival.status = Some(status);
            arrival.is_whole = is_whole;
        }
    }

    /// A caller is done with a request.
    pub(crate) fn close(&self, id: u64, outcome: Outcome) {
        let mut state = self.lock();
        let name = outcome.name();
        state.count(&name);
        let entry = state.entries.get_mut(&id).expect("it was opened");
        let is_final = matches!(outcome, Outcome::Answered { .. } | Outcome::NoToken { .. });
        entry.closed = Some((Instant::now(), outcome));
        if is_final {
            // Nothing of it can come any more.
            state.settle(id);
        }
    }

    /// Settles what was given up long ago. Once in a while, so that nothing piles up.
    pub(crate) fn tidy(&self) {
        let mut state = self.lock();
        let is_old =
            |entry: &Entry| entry.closed.as_ref().is_some_and(|(at, _)| at.elapsed() > GRACE);
        let old: Vec<_> =
            state.entries.iter().filter(|(_, entry)| is_old(entry)).map(|(id, _)| *id).collect();
        old.into_iter().for_each(|id| state.settle(id));
    }

    pub(crate) fn broken(&self, what: impl Into<String>) {
        self.lock().broken.push(what.into());
    }

    pub(crate) fn count(&self, what: &str) {
        self.lock().count(what);
    }

    /// Settles all; what was counted, and what was broken.
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

    /// Compares what both sides have seen of a request, and forgets it.
    fn settle(&mut self, id: u64) {
        let Some(Entry { arrivals, closed, .. }) = self.entries.remove(&id) else { return };
        let Some((_, outcome)) = closed else {
            self.broken.push(format!("nobody knows what came of request {id}"));
            return;
        };
        if let Err(why) = outcome.agrees_with(&arrivals) {
            self.broken.push(format!("request {id}: {outcome:?}, but it {why}"));
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
            // It may have been answered, and the answer lost.
            Self::Failed | Self::GaveUp => true,
        };
        if agrees { Ok(()) } else { Err(format!("was answered at the API with {statuses:?}")) }
    }

    fn name(&self) -> String {
        match self {
            Self::Answered { status, replayed: None } => format!("answered with {status}"),
            Self::Answered { status, replayed: Some(Replayed::Yes) } => {
                format!("answered with {status} after a replay")
            }
            Self::Answered { replayed: Some(Replayed::No(NotReplayed::Body)), .. } => {
                "answered with 401, the body too long to be sent again".to_owned()
            }
            Self::Answered { replayed: Some(_), .. } => {
                "answered with 401, fresh tokens being rejected".to_owned()
            }
            Self::NoToken { kind, has_rejected: false } => format!("no token: {kind}"),
            Self::NoToken { kind, has_rejected: true } => format!("no other token: {kind}"),
            Self::Failed => "connection broken".to_owned(),
            Self::GaveUp => "given up by the caller".to_owned(),
        }
    }
}
