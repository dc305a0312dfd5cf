//! The failures of a store by key, and those of the store as a whole.

use std::time::Duration;

use super::Operation;
use super::trouble::Trouble;
use crate::util::backoff::Backoff;
use crate::util::bounded_map::BoundedMap;
use crate::util::clock::Now;

/// The number of keys whose failures are remembered. Keys that work need no memory.
const MAX_KEYS: usize = 1024;

/// The number of keys that must fail in a row before the whole store is left alone.
///
/// If a third of the keys are on a server that is down, the probability that so many of them come
/// in a row is 1 in 40 million.
const MANY_KEYS: usize = 16;

#[derive(Debug)]
pub(super) struct Failures {
    keys: BoundedMap<String, Trouble>,
    store: Trouble,
    /// By operation, because a store that cannot be written to may still be readable.
    streaks: [Streak; Operation::COUNT],
    /// The number of the last event: the begin or the success of an operation.
    last_event: u64,
}

/// The keys for which an operation has failed since it last succeeded for any key.
#[derive(Debug, Default)]
struct Streak {
    last_success: u64,
    keys: Vec<String>,
}

/// Says which failures a back-off is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Key,
    Store,
}

/// Says what works again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recovery {
    Key,
    Store,
}

impl Default for Failures {
    fn default() -> Self {
        Self {
            keys: BoundedMap::with_capacity(MAX_KEYS),
            store: Trouble::default(),
            streaks: Default::default(),
            last_event: 0,
        }
    }
}

impl Failures {
    /// Returns the number of the next event, such as the begin of an operation.
    pub(super) fn next_event(&mut self) -> u64 {
        self.last_event += 1;
        self.last_event
    }

    /// Returns whether a caller may ask for `key`. It then tries the store if a back-off has ended.
    pub(super) fn may_ask(&mut self, key: &str, now: Now, deadline: Duration) -> bool {
        let is_resting = |trouble: &Trouble| trouble.is_resting(now);
        // The key is looked at first: one that fails by itself must not try the whole store.
        if self.keys.peek(key).is_some_and(is_resting) || self.store.is_resting(now) {
            return false;
        }
        if let Some(trouble) = self.keys.get_mut(key) {
            trouble.try_after_rest(now, deadline);
        }
        self.store.try_after_rest(now, deadline);
        true
    }

    pub(super) fn succeeded(&mut self, key: &str, operation: Operation) -> Option<Recovery> {
        let event = self.next_event();
        let streak = &mut self.streaks[operation as usize];
        streak.last_success = event;
        streak.keys.clear();
        let is_key_over =
            self.keys.get_mut(key).is_some_and(|trouble| trouble.succeeded(operation));
        if is_key_over {
            self.keys.remove(key);
        }
        if self.store.succeeded(operation) {
            self.store = Trouble::default();
            return Some(Recovery::Store);
        }
        is_key_over.then_some(Recovery::Key)
    }

    /// Records the failure of an operation that began with the event `began`.
    pub(super) fn failed(
        &mut self,
        key: &str,
        (operation, began): (Operation, u64),
        now: Now,
        backoff: &Backoff,
    ) -> (Scope, Duration) {
        let window = self.keys.get_or_default(key).failed(operation, now, backoff);
        let streak = &mut self.streaks[operation as usize];
        // Another key has succeeded in the meantime, so the store as a whole works. Keys that fail
        // together with others that succeed report later, because they wait for the deadline.
        if streak.last_success > began {
            return (Scope::Key, window);
        }
        if streak.keys.len() < MANY_KEYS && !streak.keys.iter().any(|failed| failed == key) {
            streak.keys.push(key.to_owned());
        }
        let is_tried = self.store.is_tried() || self.store.is_about(operation);
        if streak.keys.len() < MANY_KEYS && !is_tried {
            return (Scope::Key, window);
        }
        (Scope::Store, self.store.failed(operation, now, backoff))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_millis(250);
    const BACKOFF: Backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(10));

    fn key(n: usize) -> String {
        format!("key-{n}")
    }

    /// Asks for a key as a caller does, if it may. Returns whether it did.
    fn ask(failures: &mut Failures, n: usize, now: Now, works: bool) -> bool {
        let may_ask = failures.may_ask(&key(n), now, DEADLINE);
        if may_ask && works {
            failures.succeeded(&key(n), Operation::Get);
        } else if may_ask {
            let began = failures.next_event();
            failures.failed(&key(n), (Operation::Get, began), now, &BACKOFF);
        }
        may_ask
    }

    // S6
    #[test]
    fn keys_that_work_need_no_memory() {
        let (mut failures, now) = (Failures::default(), Now::read());
        for n in 0..5_000 {
            assert!(ask(&mut failures, n, now, true));
        }
        assert_eq!(failures.keys.len(), 0);
        let began = failures.next_event();
        failures.failed(&key(0), (Operation::Get, began), now, &BACKOFF);
        assert_eq!(failures.keys.len(), 1);
        failures.succeeded(&key(0), Operation::Lock);
        assert_eq!(failures.keys.len(), 1, "the operation that failed has not succeeded");
        assert_eq!(failures.succeeded(&key(0), Operation::Get), Some(Recovery::Key));
        assert_eq!(failures.keys.len(), 0);
    }

    // S6
    #[test]
    fn the_memory_of_keys_that_fail_is_bounded() {
        let (mut failures, now) = (Failures::default(), Now::read());
        for n in 0..5_000 {
            ask(&mut failures, n, now, false);
            ask(&mut failures, 1_000_000, now, true);
        }
        assert_eq!(failures.keys.len(), MAX_KEYS);
        assert!(!ask(&mut failures, 4_999, now, false), "the newest are remembered");
        assert!(ask(&mut failures, 0, now, true), "the oldest is forgotten");
    }

    // S6
    #[test]
    fn many_keys_that_fail_in_a_row_take_the_store_from_all() {
        let (mut failures, now) = (Failures::default(), Now::read());
        for n in 0..MANY_KEYS {
            assert!(ask(&mut failures, n, now, false));
        }
        assert!(!ask(&mut failures, MANY_KEYS, now, true));
        // Then one tries it, and not one of those that have failed by themselves.
        let later = now.shifted_to(now.mono + Duration::from_secs(5));
        for n in 0..MANY_KEYS {
            assert!(!failures.may_ask(&key(n), later, DEADLINE));
        }
        let later = now.shifted_to(now.mono + Duration::from_secs(10));
        assert!(failures.may_ask("one", later, DEADLINE));
        assert!(!failures.may_ask("other", later, DEADLINE));
        assert_eq!(failures.succeeded("one", Operation::Get), Some(Recovery::Store));
        assert!(failures.may_ask("other", later, DEADLINE));
    }

    // S6: a deadline is over long after the others have succeeded.
    #[test]
    fn keys_that_fail_beside_others_that_succeed_do_not_count_together() {
        let (mut failures, now) = (Failures::default(), Now::read());
        let began: Vec<_> = (0..100).map(|_| failures.next_event()).collect();
        failures.succeeded("healthy", Operation::Get);
        for (n, began) in began.into_iter().enumerate() {
            let failed = (Operation::Get, began);
            let (scope, _) = failures.failed(&key(n), failed, now, &BACKOFF);
            assert_eq!(scope, Scope::Key);
        }
        assert!(failures.may_ask("healthy", now, DEADLINE));
        // What succeeds with another operation says nothing about this one.
        for n in 0..MANY_KEYS {
            let failed = (Operation::Lock, failures.next_event());
            failures.succeeded("healthy", Operation::Get);
            failures.failed(&key(1_000 + n), failed, now, &BACKOFF);
        }
        assert!(!failures.may_ask("healthy", now, DEADLINE));
    }

    // S6
    #[test]
    fn a_store_that_is_tried_in_vain_is_left_alone_again() {
        let (mut failures, mut now) = (Failures::default(), Now::read());
        for n in 0..MANY_KEYS {
            ask(&mut failures, n, now, false);
        }
        for n in 100..110 {
            now = now.shifted_to(now.mono + Duration::from_secs(10));
            assert!(ask(&mut failures, n, now, false));
            assert!(!ask(&mut failures, n + 100, now, false), "one try is enough");
        }
    }
}
