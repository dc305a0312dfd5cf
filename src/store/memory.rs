//! Stores tokens in the memory of the process.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tower::BoxError;
use zeroize::Zeroizing;

use super::{StoredValue, TokenStore};
use crate::util::clock::Now;
use crate::util::limits::MAX_LIFETIME;
use crate::util::sync::LockExt;

/// Stores tokens in memory, for tests and for several caches of one process.
///
/// It is a [`TokenStore`] that supports leases and atomic comparison. Clones share their contents.
/// The store keeps one value per set of credentials until the value expires, and wipes the memory
/// of removed values. A value expires by tokio's clock or by the wall clock, whichever is first,
/// because tokio's clock may stop while the host is suspended.
///
/// # Example
///
/// ```
/// use tower_oauth2::store::{MemoryStore, StoredTokens};
/// # use tower::service_fn;
/// # use tower_oauth2::{AccessToken, TokenRequest};
/// # let endpoint = service_fn(|_: TokenRequest| async { AccessToken::new("t") });
///
/// let store = MemoryStore::new();
/// let first = StoredTokens::new(endpoint.clone(), store.clone());
/// let second = StoredTokens::new(endpoint, store);
/// # let _ = (first, second);
/// ```
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Contents>>);

#[derive(Default)]
struct Contents {
    values: HashMap<String, Entry>,
    leases: HashMap<String, Entry>,
    /// The number of entries above which expired entries are removed.
    cleanup_threshold: usize,
}

struct Entry {
    bytes: Zeroizing<Vec<u8>>,
    end: Now,
}

impl MemoryStore {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock_unpoisoned()
    }
}

impl Entry {
    fn new(now: Now, bytes: &[u8], time_to_live: Duration) -> Self {
        let end = now.shifted_to(now.mono + time_to_live.min(MAX_LIFETIME));
        Self { bytes: Zeroizing::new(bytes.to_vec()), end }
    }

    fn time_to_live(&self, now: Now) -> Option<Duration> {
        let left = now.remaining_until(self.end);
        (!left.is_zero()).then_some(left)
    }
}

impl Contents {
    fn get(&self, now: Now, key: &str) -> Option<StoredValue> {
        let entry = self.values.get(key)?;
        let left = entry.time_to_live(now)?;
        Some(StoredValue::new(&**entry.bytes).with_time_to_live(left))
    }

    fn set(&mut self, now: Now, key: &str, entry: Entry) {
        self.values.insert(key.to_owned(), entry);
        self.remove_expired(now);
    }

    /// Acquires or extends the lease on `key` for the owner in `lease`.
    fn lock(&mut self, now: Now, key: &str, lease: Entry) -> bool {
        let is_free = self
            .leases
            .get(key)
            .is_none_or(|held| held.bytes == lease.bytes || held.time_to_live(now).is_none());
        if is_free {
            self.leases.insert(key.to_owned(), lease);
            self.remove_expired(now);
        }
        is_free
    }

    /// Removes expired entries once there are many entries.
    fn remove_expired(&mut self, now: Now) {
        let Self { values, leases, cleanup_threshold } = self;
        if values.len() + leases.len() > *cleanup_threshold {
            values.retain(|_, entry| entry.time_to_live(now).is_some());
            leases.retain(|_, entry| entry.time_to_live(now).is_some());
            *cleanup_threshold = (2 * (values.len() + leases.len())).max(64);
        }
    }
}

impl TokenStore for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<StoredValue>, BoxError> {
        Ok(self.lock().get(Now::read(), key))
    }

    async fn set(&self, key: &str, value: &[u8], time_to_live: Duration) -> Result<(), BoxError> {
        let now = Now::read();
        self.lock().set(now, key, Entry::new(now, value, time_to_live));
        Ok(())
    }

    async fn replace(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
        time_to_live: Duration,
    ) -> Result<bool, BoxError> {
        let now = Now::read();
        let mut contents = self.lock();
        let is_expected = contents.get(now, key).as_ref().map(StoredValue::value) == expected;
        if is_expected {
            contents.set(now, key, Entry::new(now, value, time_to_live));
        }
        Ok(is_expected)
    }

    async fn lock(&self, key: &str, owner: &str, lease: Duration) -> Result<bool, BoxError> {
        let now = Now::read();
        Ok(self.lock().lock(now, key, Entry::new(now, owner.as_bytes(), lease)))
    }

    async fn unlock(&self, key: &str, owner: &str) -> Result<(), BoxError> {
        let mut contents = self.lock();
        if contents.leases.get(key).is_some_and(|held| *held.bytes == owner.as_bytes()) {
            contents.leases.remove(key);
        }
        Ok(())
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let contents = self.lock();
        let entries = contents.values.len() + contents.leases.len();
        f.debug_struct("MemoryStore").field("entries", &entries).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tokio::time::Instant;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const MINUTE: Duration = Duration::from_secs(60);

    fn start() -> Now {
        // The wall clock is fixed, because the tests advance it.
        Now { mono: Instant::now(), wall: SystemTime::UNIX_EPOCH + 24 * HOUR }
    }

    /// Returns the time after a suspend for `suspended` that began `awake` after `now`.
    fn resumed(now: Now, awake: Duration, suspended: Duration) -> Now {
        Now { mono: now.mono + awake, wall: now.wall + awake + suspended }
    }

    fn contents(now: Now) -> Contents {
        let mut contents = Contents::default();
        contents.set(now, "key", Entry::new(now, b"value", HOUR));
        assert!(contents.lock(now, "key", Entry::new(now, b"owner", HOUR)));
        contents
    }

    // C5
    #[test]
    fn a_suspend_counts_against_the_remaining_time() {
        let now = start();
        let resumed = resumed(now, MINUTE, 20 * MINUTE);
        let stored = contents(now).get(resumed, "key").unwrap();
        assert_eq!(stored.time_to_live(), Some(39 * MINUTE));
    }

    // C5
    #[test]
    fn values_and_leases_expire_during_a_suspend() {
        let now = start();
        let mut contents = contents(now);
        let resumed = resumed(now, MINUTE, HOUR);
        assert_eq!(contents.get(resumed, "key"), None);
        assert!(contents.lock(resumed, "key", Entry::new(resumed, b"other", HOUR)));
        assert!(!contents.lock(resumed, "key", Entry::new(resumed, b"owner", HOUR)));
    }

    // C5
    #[test]
    fn setting_the_wall_clock_back_has_no_effect() {
        let now = start();
        let mut contents = contents(now);
        let before_end = Now { mono: now.mono + 59 * MINUTE, wall: now.wall - 12 * HOUR };
        let stored = contents.get(before_end, "key").unwrap();
        assert_eq!(stored.time_to_live(), Some(MINUTE));
        assert!(!contents.lock(before_end, "key", Entry::new(before_end, b"other", HOUR)));
        let end = Now { mono: now.mono + HOUR, wall: now.wall - 12 * HOUR };
        assert_eq!(contents.get(end, "key"), None);
        assert!(contents.lock(end, "key", Entry::new(end, b"other", HOUR)));
    }
}
