//! A store within the process.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tower::BoxError;
use zeroize::Zeroizing;

use super::{Stored, TokenStore};
use crate::token::MAX_LIFETIME;

/// A [`TokenStore`] in memory, for tests and for several caches of one process. Clones share
/// everything.
///
/// It runs on tokio's clock, locks and compares as the others do, and keeps what has not ended: as many entries as
/// there are credentials. Values are wiped from memory when they go.
///
/// # Example
///
/// ```
/// use tower::{Layer, service_fn};
/// use tower_oauth2::{AccessToken, MemoryStore, StoreLayer, TokenRequest};
///
/// let shared = StoreLayer::new(MemoryStore::new());
/// let source = service_fn(|_: TokenRequest| async { AccessToken::new("t") });
/// let (one, other) = (shared.layer(source.clone()), shared.layer(source));
/// # let _ = (one, other);
/// ```
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Contents>>);

#[derive(Default)]
struct Contents {
    values: HashMap<String, Entry>,
    leases: HashMap<String, Entry>,
    /// How many of both there may be before those that have ended are looked for.
    tidy_at: usize,
}

struct Entry {
    bytes: Zeroizing<Vec<u8>>,
    until: Instant,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new(bytes: &[u8], time_to_live: Duration) -> Self {
        let until = Instant::now() + time_to_live.min(MAX_LIFETIME);
        Self { bytes: Zeroizing::new(bytes.to_vec()), until }
    }

    fn time_to_live(&self) -> Option<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

impl Contents {
    fn set(&mut self, key: &str, entry: Entry) {
        self.values.insert(key.to_owned(), entry);
        self.tidy();
    }

    fn tidy(&mut self) {
        let Self { values, leases, tidy_at } = self;
        if values.len() + leases.len() > *tidy_at {
            values.retain(|_, entry| entry.time_to_live().is_some());
            leases.retain(|_, entry| entry.time_to_live().is_some());
            *tidy_at = (2 * (values.len() + leases.len())).max(64);
        }
    }

    fn get(&self, key: &str) -> Option<Stored> {
        let entry = self.values.get(key)?;
        let left = entry.time_to_live()?;
        Some(Stored::new(&**entry.bytes).with_time_to_live(left))
    }
}

impl TokenStore for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<Stored>, BoxError> {
        Ok(self.lock().get(key))
    }

    async fn set(&self, key: &str, value: &[u8], time_to_live: Duration) -> Result<(), BoxError> {
        self.lock().set(key, Entry::new(value, time_to_live));
        Ok(())
    }

    async fn replace(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
        time_to_live: Duration,
    ) -> Result<bool, BoxError> {
        let mut contents = self.lock();
        let is_expected = contents.get(key).as_ref().map(Stored::value) == expected;
        if is_expected {
            contents.set(key, Entry::new(value, time_to_live));
        }
        Ok(is_expected)
    }

    async fn lock(&self, key: &str, owner: &str, lease: Duration) -> Result<bool, BoxError> {
        let mut contents = self.lock();
        let is_free = contents
            .leases
            .get(key)
            .is_none_or(|held| *held.bytes == owner.as_bytes() || held.time_to_live().is_none());
        if is_free {
            contents.leases.insert(key.to_owned(), Entry::new(owner.as_bytes(), lease));
            contents.tidy();
        }
        Ok(is_free)
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
