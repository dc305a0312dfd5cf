//! A simulated network store: the store in memory, with a latency, that counts its operations.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tower::BoxError;
use tower_oauth2::store::{MemoryStore, StoredValue, TokenStore};

use crate::day::Day;

const LATENCY: Duration = Duration::from_millis(1);

#[derive(Clone)]
pub(crate) struct CountedStore {
    inner: MemoryStore,
    day: Arc<Day>,
}

impl CountedStore {
    pub(crate) fn new(day: &Arc<Day>) -> Self {
        Self { inner: MemoryStore::new(), day: day.clone() }
    }

    /// Counts an operation, and waits for the latency.
    async fn count(&self, is_lock: bool) {
        self.day.tally.store_operation(self.day.now(), is_lock);
        sleep(LATENCY).await;
    }
}

impl TokenStore for CountedStore {
    async fn get(&self, key: &str) -> Result<Option<StoredValue>, BoxError> {
        self.count(false).await;
        self.inner.get(key).await
    }

    async fn set(&self, key: &str, value: &[u8], time_to_live: Duration) -> Result<(), BoxError> {
        self.count(false).await;
        self.inner.set(key, value, time_to_live).await
    }

    async fn replace(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
        time_to_live: Duration,
    ) -> Result<bool, BoxError> {
        self.count(false).await;
        self.inner.replace(key, expected, value, time_to_live).await
    }

    async fn lock(&self, key: &str, owner: &str, lease: Duration) -> Result<bool, BoxError> {
        self.count(true).await;
        self.inner.lock(key, owner, lease).await
    }

    async fn unlock(&self, key: &str, owner: &str) -> Result<(), BoxError> {
        self.count(false).await;
        self.inner.unlock(key, owner).await
    }
}
