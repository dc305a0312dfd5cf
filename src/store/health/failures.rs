//! Tracks the failures of each key and of the whole store.

use std::time::Duration;

use super::Operation;
use super::backoff::FailureBackoff;
use crate::util::backoff::Backoff;
use crate::util::bounded_map::BoundedMap;
use crate::util::clock::Now;

/// The number of keys whose failures are tracked. Keys that work need no memory.
const MAX_KEYS: usize = 1024;

/// So many keys in a row must fail before the whole store backs off.
///
/// If a third of the keys are on a server that is down, the probability that 16 of them fail in a
/// row is (1/3)^16, or 1 in 43 million.
const STORE_FAILURE_THRESHOLD: usize = 16;

#[derive(Debug)]
pub(super) struct Failures {
    keys: BoundedMap<String, FailureBackoff>,
    store: FailureBackoff,
    /// The failed keys by operation, because a read-only store still answers reads.
    failed_keys: [FailedKeys; Operation::COUNT],
    /// The number of the last event: the start or success of an operation.
    last_event: u64,
}

/// The keys for which an operation has failed since its last success for any key.
#[derive(Debug, Default)]
struct FailedKeys {
    last_success: u64,
    keys: Vec<String>,
}

/// The scope of a back-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Key,
    Store,
}

/// The scope of a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recovery {
    Key,
    Store,
}

impl Default for Failures {
    fn default() -> Self {
        Self {
            keys: BoundedMap::with_capacity(MAX_KEYS),
            store: FailureBackoff::default(),
            failed_keys: Default::default(),
            last_event: 0,
        }
    }
}

impl Failures {
    /// Returns the number of the next event, such as the start of an operation.
    pub(super) fn next_event(&mut self) -> u64 {
        self.last_event += 1;
        self.last_event
    }

    /// Returns whether a caller may use the store for `key`.
    ///
    /// If a back-off has just ended, this caller is the one that tries the store.
    pub(super) fn may_use(&mut self, key: &str, now: Now, deadline: Duration) -> bool {
        let is_backing_off = |backoff: &FailureBackoff| backoff.is_backing_off(now);
        // The key is checked first: a key that is in back-off must not try the whole store.
        if self.keys.peek(key).is_some_and(is_backing_off) || self.store.is_backing_off(now) {
            return false;
        }
        if let Some(backoff) = self.keys.get_mut(key) {
            backoff.start_trial(now, deadline);
        }
        self.store.start_trial(now, deadline);
        true
    }

    /// Records a success. Returns the scope of the recovery, if there is one.
    pub(super) fn succeeded(&mut self, key: &str, operation: Operation) -> Option<Recovery> {
        let event = self.next_event();
        let failed = &mut self.failed_keys[operation as usize];
        failed.last_success = event;
        failed.keys.clear();
        let has_key_recovered =
            self.keys.get_mut(key).is_some_and(|backoff| backoff.succeeded(operation));
        if has_key_recovered {
            self.keys.remove(key);
        }
        if self.store.succeeded(operation) {
            self.store = FailureBackoff::default();
            return Some(Recovery::Store);
        }
        has_key_recovered.then_some(Recovery::Key)
    }

    /// Records the failure of an operation that started with the event `started`.
    ///
    /// Returns the scope of the back-off and its remaining time.
    pub(super) fn failed(
        &mut self,
        key: &str,
        (operation, started): (Operation, u64),
        now: Now,
        backoff: &Backoff,
    ) -> (Scope, Duration) {
        let window = self.keys.get_or_default(key).failed(operation, now, backoff);
        let failed_keys = &mut self.failed_keys[operation as usize];
        // Another key has succeeded since the operation started, so the store works. Failing keys
        // report later than those that succeed, because they wait for their deadline.
        if failed_keys.last_success > started {
            return (Scope::Key, window);
        }
        if failed_keys.keys.len() < STORE_FAILURE_THRESHOLD
            && !failed_keys.keys.iter().any(|failed| failed == key)
        {
            failed_keys.keys.push(key.to_owned());
        }
        let is_on_trial = self.store.is_on_trial() || self.store.waits_for(operation);
        if failed_keys.keys.len() < STORE_FAILURE_THRESHOLD && !is_on_trial {
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

    /// Runs an operation for a key if the back-off permits it. Returns whether it ran.
    fn run(failures: &mut Failures, n: usize, now: Now, works: bool) -> bool {
        let may_use = failures.may_use(&key(n), now, DEADLINE);
        if may_use && works {
            failures.succeeded(&key(n), Operation::Get);
        } else if may_use {
            let started = failures.next_event();
            failures.failed(&key(n), (Operation::Get, started), now, &BACKOFF);
        }
        may_use
    }

    // S6
    #[test]
    fn keys_that_work_need_no_memory() {
        let (mut failures, now) = (Failures::default(), Now::read());
        for n in 0..5_000 {
            assert!(run(&mut failures, n, now, true));
        }
        assert_eq!(failures.keys.len(), 0);
        let started = failures.next_event();
        failures.failed(&key(0), (Operation::Get, started), now, &BACKOFF);
        assert_eq!(failures.keys.len(), 1);
        failures.succeeded(&key(0), Operation::Lock);
        assert_eq!(failures.keys.len(), 1, "the failed operation has not succeeded yet");
        assert_eq!(failures.succeeded(&key(0), Operation::Get), Some(Recovery::Key));
        assert_eq!(failures.keys.len(), 0);
    }

    // S6
    #[test]
    fn the_number_of_tracked_failed_keys_is_bounded() {
        let (mut failures, now) = (Failures::default(), Now::read());
        for n in 0..5_000 {
            run(&mut failures, n, now, false);
            run(&mut failures, 1_000_000, now, true);
        }
        assert_eq!(failures.keys.len(), MAX_KEYS);
        assert!(!run(&mut failures, 4_999, now, false), "the newest key is tracked");
        assert!(run(&mut failures, 0, now, true), "the oldest key was evicted");
    }

    // S6
    #[test]
    fn many_failed_keys_in_a_row_stop_use_for_all_keys() {
        let (mut failures, now) = (Failures::default(), Now::read());
        for n in 0..STORE_FAILURE_THRESHOLD {
            assert!(run(&mut failures, n, now, false));
        }
        assert!(!run(&mut failures, STORE_FAILURE_THRESHOLD, now, true));
        // Only a key without a back-off of its own may try the store.
        let later = now.shifted_to(now.mono + Duration::from_secs(5));
        for n in 0..STORE_FAILURE_THRESHOLD {
            assert!(!failures.may_use(&key(n), later, DEADLINE));
        }
        let later = now.shifted_to(now.mono + Duration::from_secs(10));
        assert!(failures.may_use("one", later, DEADLINE));
        assert!(!failures.may_use("other", later, DEADLINE));
        assert_eq!(failures.succeeded("one", Operation::Get), Some(Recovery::Store));
        assert!(failures.may_use("other", later, DEADLINE));
    }

    // S6: keys that fail reach their deadline long after other keys have succeeded.
    #[test]
    fn failures_beside_successes_do_not_count_together() {
        let (mut failures, now) = (Failures::default(), Now::read());
        let started: Vec<_> = (0..100).map(|_| failures.next_event()).collect();
        failures.succeeded("healthy", Operation::Get);
        for (n, started) in started.into_iter().enumerate() {
            let failed = (Operation::Get, started);
            let (scope, _) = failures.failed(&key(n), failed, now, &BACKOFF);
            assert_eq!(scope, Scope::Key);
        }
        assert!(failures.may_use("healthy", now, DEADLINE));
        // A success of another operation does not count for this operation.
        for n in 0..STORE_FAILURE_THRESHOLD {
            let failed = (Operation::Lock, failures.next_event());
            failures.succeeded("healthy", Operation::Get);
            failures.failed(&key(1_000 + n), failed, now, &BACKOFF);
        }
        assert!(!failures.may_use("healthy", now, DEADLINE));
    }

    // S6
    #[test]
    fn a_failed_trial_starts_another_backoff() {
        let (mut failures, mut now) = (Failures::default(), Now::read());
        for n in 0..STORE_FAILURE_THRESHOLD {
            run(&mut failures, n, now, false);
        }
        for n in 100..110 {
            now = now.shifted_to(now.mono + Duration::from_secs(10));
            assert!(run(&mut failures, n, now, false));
            assert!(!run(&mut failures, n + 100, now, false), "one trial at a time");
        }
    }
}
