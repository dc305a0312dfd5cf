//! When an API rejects fresh tokens too, more of them will not help.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::meter;
use crate::origin::Origin;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// How many APIs can be known as broken at once. Past it, the one whose time is up first is
/// forgotten.
const CAPACITY: usize = 1024;

/// The fingerprint of credentials, and the API. No origin is the inner service's own.
pub(crate) type Key = (u64, Option<Origin>);

/// APIs that have rejected a fresh token, and until when their rejections are ignored.
#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<HashMap<Key, Open>>);

#[derive(Debug)]
struct Open {
    until: Instant,
    window: Duration,
    /// The newest token whose rejection counted: many requests may have been replayed with it.
    number: u64,
}

impl Breaker {
    /// Whether rejections are to be ignored at present.
    pub(crate) fn is_open(&self, key: &Key) -> bool {
        self.lock().get(key).is_some_and(|open| Instant::now() < open.until)
    }

    /// A replay with the token of this number was rejected.
    pub(crate) fn trip(&self, key: Key, number: u64) {
        let now = Instant::now();
        let mut all = self.lock();
        let window = match all.get(&key) {
            // Or an older one's, that was on its way for longer.
            Some(open) if open.number >= number => return,
            Some(open) => (open.window * 2).min(LONGEST),
            None => FIRST,
        };
        let before = all.len();
        if all.len() >= CAPACITY && !all.contains_key(&key) {
            let first = all.iter().min_by_key(|(_, open)| open.until).map(|(key, _)| key.clone());
            first.map(|first| all.remove(&first));
        }
        let origin = key.1.clone();
        all.insert(key, Open { until: now + window, window, number });
        let is_one_more = all.len() > before;
        // Not under the lock: whoever listens may come back here.
        drop(all);
        if is_one_more {
            meter::broken_apis(1);
        }
        let origin = origin.as_ref().map(tracing::field::display);
        tracing::warn!(origin, ?window, "a fresh token was rejected; rejections are ignored");
    }

    /// A replay was not rejected.
    pub(crate) fn reset(&self, key: &Key) {
        let open = self.lock().remove(key);
        if open.is_some() {
            meter::broken_apis(-1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Breaker {
    fn drop(&mut self) {
        // No more than there is room for.
        let left = self.lock().len() as i32;
        if left > 0 {
            meter::broken_apis(-left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // R8
    #[test]
    fn a_token_counts_once_and_not_again_after_a_newer_one() {
        let breaker = Breaker::default();
        let key = || (7, None);
        for number in [2, 2, 3, 2, 3] {
            breaker.trip(key(), number);
        }
        assert_eq!(breaker.lock()[&key()].window, FIRST * 2);
    }

    // R8
    #[test]
    fn state_is_bounded() {
        let breaker = Breaker::default();
        for n in 0..3 * CAPACITY {
            let origin = Origin::parse(&format!("https://{n}.test")).unwrap();
            breaker.trip((7, Some(origin)), n as u64);
        }
        assert_eq!(breaker.lock().len(), CAPACITY);
        let last = Origin::parse(&format!("https://{}.test", 3 * CAPACITY - 1)).unwrap();
        assert!(breaker.is_open(&(7, Some(last))));
    }
}
