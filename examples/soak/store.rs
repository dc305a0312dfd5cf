//! A store that is in trouble every other time.

use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tokio::time::sleep;
use tower::BoxError;
use tower_oauth2::store::{MemoryStore, StoredValue, TokenStore};

use crate::ledger::Ledger;

/// Clones are the same one.
#[derive(Clone)]
pub(crate) struct FlappingStore {
    inner: MemoryStore,
    state: Arc<Mutex<State>>,
    ledger: Ledger,
}

struct State {
    rng: Rng,
    mood: Mood,
    /// A value that was there some time ago.
    old: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Fine,
    Fails,
    Hangs,
    Slow,
    /// What it answers with is cut, made up, or old.
    Rubbish,
    ReadOnly,
    /// It takes nothing in the place of anything, and gives no lease.
    Stubborn,
}

impl FlappingStore {
    pub(crate) fn new(seed: u64, ledger: &Ledger) -> Self {
        let state = State { rng: Rng::with_seed(seed), mood: Mood::Fine, old: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        Self { inner: MemoryStore::new(), state, ledger: ledger.clone() }
    }

    /// Another mood. For how long it lasts.
    pub(crate) fn change(&self) -> Duration {
        use Mood::*;

        let mut state = self.lock();
        let bad = [Fails, Hangs, Slow, Rubbish, ReadOnly, Stubborn];
        state.mood = if state.mood == Fine { bad[state.rng.usize(..bad.len())] } else { Fine };
        if state.mood != Fine {
            self.ledger.count("bad moods of the store");
        }
        Duration::from_millis(state.rng.u64(200..1500))
    }

    /// Waits as long as it takes, and tells the mood.
    async fn begin(&self, writes: bool) -> Result<Mood, BoxError> {
        let (mood, pause) = {
            let mut state = self.lock();
            (state.mood, state.rng.u64(1..150))
        };
        self.ledger.count("store operations");
        match mood {
            Mood::Fails => Err("the store is down".into()),
            Mood::ReadOnly if writes => Err("the store is read-only".into()),
            Mood::Hangs => pending().await,
            Mood::Slow => {
                sleep(Duration::from_millis(pause)).await;
                Ok(mood)
            }
            mood => Ok(mood),
        }
    }

    fn rubbish(&self, stored: Option<StoredValue>) -> StoredValue {
        let mut state = self.lock();
        let value = stored.map(|stored| stored.value().to_vec()).unwrap_or_default();
        let rubbish = match state.rng.u8(..3) {
            0 => value[..value.len() / 2].to_vec(),
            1 => std::iter::repeat_with(|| state.rng.u8(..)).take(200).collect(),
            _ => state.old.clone(),
        };
        if state.rng.u8(..10) == 0 {
            state.old = value;
        }
        StoredValue::new(rubbish).with_time_to_live(Duration::from_secs(1))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenStore for FlappingStore {
    async fn get(&self, key: &str) -> Result<Option<StoredValue>, BoxError> {
        let mood = self.begin(false).await?;
        let stored = self.inner.get(key).await?;
        Ok(if mood == Mood::Rubbish { Some(self.rubbish(stored)) } else { stored })
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
            Mood::Stubborn => Ok(false),
            _ => self.inner.replace(key, expected, value, time_to_live).await,
        }
    }

    async fn lock(&self, key: &str, owner: &str, lease: Duration) -> Result<bool, BoxError> {
        match self.begin(true).await? {
            Mood::Stubborn => Ok(false),
            _ => self.inner.lock(key, owner, lease).await,
        }
    }

    async fn unlock(&self, key: &str, owner: &str) -> Result<(), BoxError> {
        self.begin(true).await?;
        self.inner.unlock(key, owner).await
    }
}
