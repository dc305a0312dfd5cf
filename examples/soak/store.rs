//! A store that alternates between working and failing.

use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tokio::time::sleep;
use tower::BoxError;
use tower_oauth2::store::{MemoryStore, StoredValue, TokenStore};

use crate::ledger::Ledger;

/// Clones share their state.
#[derive(Clone)]
pub(crate) struct FailingStore {
    inner: MemoryStore,
    state: Arc<Mutex<State>>,
    ledger: Ledger,
}

struct State {
    rng: Rng,
    fault: Option<Fault>,
    /// A value that the store had some time ago.
    old: Vec<u8>,
}

/// A fault of the store.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Every operation fails.
    Error,
    /// Operations never complete.
    Hang,
    Slow,
    /// Reads return truncated, random or old values.
    Malformed,
    /// Writes fail.
    ReadOnly,
    /// `replace` and `lock` return false.
    Conflict,
}

impl FailingStore {
    pub(crate) fn new(seed: u64, ledger: &Ledger) -> Self {
        let state = State { rng: Rng::with_seed(seed), fault: None, old: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        Self { inner: MemoryStore::new(), state, ledger: ledger.clone() }
    }

    /// Starts a fault, or ends the current one. Returns the time until the next change.
    pub(crate) fn change(&self) -> Duration {
        use Fault::*;

        let mut state = self.lock();
        let faults = [Error, Hang, Slow, Malformed, ReadOnly, Conflict];
        state.fault = match state.fault {
            None => Some(faults[state.rng.usize(..faults.len())]),
            Some(_) => None,
        };
        if state.fault.is_some() {
            self.ledger.count("faults of the store");
        }
        Duration::from_millis(state.rng.u64(200..1500))
    }

    /// Starts an operation: fails or waits as the current fault requires, and returns the fault.
    async fn begin(&self, is_write: bool) -> Result<Option<Fault>, BoxError> {
        let (fault, pause) = {
            let mut state = self.lock();
            (state.fault, state.rng.u64(1..150))
        };
        self.ledger.count("store operations");
        match fault {
            Some(Fault::Error) => Err("the store is down".into()),
            Some(Fault::ReadOnly) if is_write => Err("the store is read-only".into()),
            Some(Fault::Hang) => pending().await,
            Some(Fault::Slow) => {
                sleep(Duration::from_millis(pause)).await;
                Ok(fault)
            }
            _ => Ok(fault),
        }
    }

    /// Returns a truncated, random or old value.
    fn malformed(&self, stored: Option<StoredValue>) -> StoredValue {
        let mut state = self.lock();
        let value = stored.map(|stored| stored.value().to_vec()).unwrap_or_default();
        let malformed = match state.rng.u8(..3) {
            0 => value[..value.len() / 2].to_vec(),
            1 => std::iter::repeat_with(|| state.rng.u8(..)).take(200).collect(),
            _ => state.old.clone(),
        };
        if state.rng.u8(..10) == 0 {
            state.old = value;
        }
        StoredValue::new(malformed).with_time_to_live(Duration::from_secs(1))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenStore for FailingStore {
    async fn get(&self, key: &str) -> Result<Option<StoredValue>, BoxError> {
        let fault = self.begin(false).await?;
        let stored = self.inner.get(key).await?;
        Ok(if fault == Some(Fault::Malformed) { Some(self.malformed(stored)) } else { stored })
    }

    async fn set(&self, key: &str, value: &[u8], time_to_live: Duration) -> Result<(), BoxError> {
        self.begin(true).await?;
        self.inner.set(key, value, time_to_live).await
    }

    async fn replace(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
        time_to_live: Duration,
    ) -> Result<bool, BoxError> {
        match self.begin(true).await? {
            Some(Fault::Conflict) => Ok(false),
            _ => self.inner.replace(key, expected, value, time_to_live).await,
        }
    }

    async fn lock(&self, key: &str, owner: &str, lease: Duration) -> Result<bool, BoxError> {
        match self.begin(true).await? {
            Some(Fault::Conflict) => Ok(false),
            _ => self.inner.lock(key, owner, lease).await,
        }
    }

    async fn unlock(&self, key: &str, owner: &str) -> Result<(), BoxError> {
        self.begin(true).await?;
        self.inner.unlock(key, owner).await
    }
}
