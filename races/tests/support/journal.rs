//! What happened, in order, and the invariants that can be told from it at any moment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tower_oauth2_races::{AccessToken, Cause, TokenRequest};

use super::issue;

/// Its lock is a real one: a scenario is played on one thread, and no other comes in between.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    moment: u64,
    calls: Vec<Call>,
    rejections: Vec<Rejection>,
    slots: BTreeMap<String, Removals>,
}

/// A call of the source.
#[derive(Clone, Debug)]
pub struct Call {
    pub id: String,
    pub cause: Cause,
    /// The token that it was shown.
    pub shown: Option<String>,
    pub begun: u64,
    pub ended: Option<u64>,
}

struct Rejection {
    moment: u64,
    issue: usize,
    secret: String,
}

/// Each removal lets one token request be forgotten, which goes on beside the next one. Which of them is forgotten can not be
/// told from here: it may have been sent for before the removal and begin after it.
#[derive(Default)]
struct Removals {
    count: usize,
    /// So many of them have been seen to be needed.
    used: usize,
    /// So many of the token requests that are on their way may be forgotten ones.
    forgotten: usize,
}

/// Ended when it is dropped.
pub struct InAir {
    journal: Journal,
    pub number: usize,
}

impl Journal {
    /// A new one.
    pub fn moment(&self) -> u64 {
        let mut entries = self.entries();
        entries.moment += 1;
        entries.moment
    }

    pub fn calls(&self) -> Vec<Call> {
        self.entries().calls.clone()
    }

    pub fn count(&self) -> usize {
        self.entries().calls.len()
    }

    pub fn causes(&self) -> Vec<Cause> {
        self.entries().calls.iter().map(|call| call.cause).collect()
    }

    /// A token request begins: the first has number 1. At most one is on its way for each slot, and beside it those that
    /// were forgotten, one for each removal.
    pub fn begin(&self, request: &TokenRequest) -> InAir {
        let begun = self.moment();
        let id = request.credentials().client_id().unwrap_or_default().to_owned();
        let mut entries = self.entries();
        let others = entries.in_air(&id);
        let slot = entries.slots.entry(id.clone()).or_default();
        if others > slot.forgotten {
            slot.forgotten += 1;
            slot.used += 1;
        }
        assert!(slot.used <= slot.count, "another token request for {id} beside {others}");
        entries.calls.push(Call {
            id,
            cause: request.cause(),
            shown: request.token().map(|token| token.secret().to_owned()),
            begun,
            ended: None,
        });
        InAir { journal: self.clone(), number: entries.calls.len() }
    }

    /// It has been, just now.
    pub fn rejected(&self, token: &AccessToken) {
        let (moment, issue) = (self.moment(), issue(token));
        let secret = token.secret().to_owned();
        self.entries().rejections.push(Rejection { moment, issue, secret });
    }

    /// They are about to be.
    pub fn removing(&self, id: &str) {
        self.entries().slots.entry(id.to_owned()).or_default().count += 1;
    }

    /// A token that was rejected before `polled` is not given to a caller that came to run then; and neither is the same
    /// text, brought by a token request that began before the rejection and ended after it. But whoever has `asked` and
    /// waited for two token requests in vain takes what the third brings.
    pub fn may_be_handed_out(&self, token: &AccessToken, asked: u64, polled: u64) {
        let entries = self.entries();
        let (secret, number) = (token.secret(), issue(token));
        let arrived = entries.calls[number - 1].ended.unwrap_or(u64::MAX);
        let is_before = |call: &&Call| call.ended.is_some_and(|it| asked < it && it < arrived);
        if entries.calls.iter().filter(is_before).count() >= 2 {
            return;
        }
        for rejection in entries.rejections.iter().filter(|rejection| rejection.moment < polled) {
            assert_ne!(rejection.issue, number, "{secret} is handed out after its rejection");
            let call = &entries.calls[number - 1];
            let was_on_its_way = call.begun < rejection.moment
                && call.ended.is_none_or(|ended| ended > rejection.moment);
            assert!(
                rejection.secret != secret || !was_on_its_way || call.cause == Cause::Rejected,
                "{secret} is handed out again, by a token request that knew of no rejection"
            );
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap()
    }
}

impl Entries {
    /// How many token requests are on their way.
    fn in_air(&self, id: &str) -> usize {
        self.calls.iter().filter(|call| call.id == id && call.ended.is_none()).count()
    }
}

impl Drop for InAir {
    fn drop(&mut self) {
        // A scenario that has failed is not looked at any more.
        if let Ok(mut entries) = self.journal.0.lock() {
            entries.moment += 1;
            let moment = entries.moment;
            entries.calls[self.number - 1].ended = Some(moment);
            let id = entries.calls[self.number - 1].id.clone();
            let left = entries.in_air(&id);
            let slot = entries.slots.entry(id).or_default();
            slot.forgotten = slot.forgotten.min(left);
        }
    }
}
