use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower::BoxError;
use tower_oauth2::store::{MemoryStore, StoredValue, TokenStore, ValueNotAccepted};

/// An operation of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Get,
    Set,
    Replace,
    Lock,
    Unlock,
}

impl Op {
    pub const ALL: [Self; 5] = [Self::Get, Self::Set, Self::Replace, Self::Lock, Self::Unlock];
}

/// The behaviour of an operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    Work,
    Fail,
    FailAfter(Duration),
    Hang,
    HangAfterwards,
    WorkThenWait(Duration),
    WorkAfter(Duration),
    Panic,
    /// Returns `ValueNotAccepted`.
    NotAccept,
    /// Returns success without doing anything.
    Pretend,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub op: Op,
    pub key: String,
    pub at: Instant,
}

type Script = dyn Fn(Op) -> Act + Send + Sync;

/// A store in memory with scripted behaviour, which records its operations.
#[derive(Clone)]
pub struct Double {
    pub inner: MemoryStore,
    script: Arc<Mutex<Arc<Script>>>,
    log: Arc<Mutex<Vec<Entry>>>,
}

impl Default for Double {
    fn default() -> Self {
        Self::new(|_| Act::Work)
    }
}

impl Double {
    pub fn new(script: impl Fn(Op) -> Act + Send + Sync + 'static) -> Self {
        let script: Arc<Script> = Arc::new(script);
        Self {
            inner: MemoryStore::new(),
            script: Arc::new(Mutex::new(script)),
            log: Arc::default(),
        }
    }

    /// Creates a store that behaves as `act` for `op`, and works otherwise.
    pub fn but(op: Op, act: Act) -> Self {
        Self::new(move |called| if called == op { act } else { Act::Work })
    }

    /// Changes the behaviour.
    pub fn becomes(&self, script: impl Fn(Op) -> Act + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Arc::new(script);
    }

    pub fn log(&self) -> Vec<Entry> {
        self.log.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.log.lock().unwrap().len()
    }

    /// Awaits `work` as scripted, or returns `pretended`.
    async fn act<T>(
        &self,
        op: Op,
        key: &str,
        pretended: T,
        work: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, BoxError> {
        let entry = Entry { op, key: key.to_owned(), at: Instant::now() };
        self.log.lock().unwrap().push(entry);
        let script = self.script.lock().unwrap().clone();
        match script(op) {
            Act::Work => work.await,
            Act::WorkAfter(wait) => {
                sleep(wait).await;
                work.await
            }
            Act::WorkThenWait(wait) => {
                let done = work.await;
                sleep(wait).await;
                done
            }
            Act::Fail => Err("the store is broken".into()),
            Act::FailAfter(wait) => {
                sleep(wait).await;
                Err("the store is broken".into())
            }
            Act::Hang => std::future::pending().await,
            Act::HangAfterwards => {
                work.await?;
                std::future::pending().await
            }
            Act::Panic => panic!("the store has a bug"),
            Act::NotAccept => Err(ValueNotAccepted::new("longer than 64 KiB").into()),
            Act::Pretend => Ok(pretended),
        }
    }
}

impl TokenStore for Double {
    async fn get(&self, key: &str) -> Result<Option<StoredValue>, BoxError> {
        self.act(Op::Get, key, None, self.inner.get(key)).await
    }

    async fn set(&self, key: &str, value: &[u8], time_to_live: Duration) -> Result<(), BoxError> {
        self.act(Op::Set, key, (), self.inner.set(key, value, time_to_live)).await
    }

    async fn replace(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
        time_to_live: Duration,
    ) -> Result<bool, BoxError> {
        let work = self.inner.replace(key, expected, value, time_to_live);
        self.act(Op::Replace, key, true, work).await
    }

    async fn lock(&self, key: &str, owner: &str, lease: Duration) -> Result<bool, BoxError> {
        self.act(Op::Lock, key, true, self.inner.lock(key, owner, lease)).await
    }

    async fn unlock(&self, key: &str, owner: &str) -> Result<(), BoxError> {
        self.act(Op::Unlock, key, (), self.inner.unlock(key, owner)).await
    }
}

/// A store with `get` and `set` only, without expiry or time to live.
#[derive(Clone, Default)]
pub struct Plain(Arc<Mutex<std::collections::HashMap<String, Vec<u8>>>>);

impl Plain {
    pub fn values(&self) -> Vec<Vec<u8>> {
        self.0.lock().unwrap().values().cloned().collect()
    }
}

impl TokenStore for Plain {
    async fn get(&self, key: &str) -> Result<Option<StoredValue>, BoxError> {
        Ok(self.0.lock().unwrap().get(key).cloned().map(StoredValue::new))
    }

    async fn set(&self, key: &str, value: &[u8], _: Duration) -> Result<(), BoxError> {
        self.0.lock().unwrap().insert(key.to_owned(), value.to_owned());
        Ok(())
    }
}

/// A store that locks and does not report the time to live of a value.
#[derive(Clone, Default)]
pub struct Timeless(pub MemoryStore);

impl TokenStore for Timeless {
    async fn get(&self, key: &str) -> Result<Option<StoredValue>, BoxError> {
        let stored = self.0.get(key).await?;
        Ok(stored.map(|stored| StoredValue::new(stored.value())))
    }

    async fn set(&self, key: &str, value: &[u8], time_to_live: Duration) -> Result<(), BoxError> {
        self.0.set(key, value, time_to_live).await
    }

    async fn lock(&self, key: &str, owner: &str, lease: Duration) -> Result<bool, BoxError> {
        self.0.lock(key, owner, lease).await
    }

    async fn unlock(&self, key: &str, owner: &str) -> Result<(), BoxError> {
        self.0.unlock(key, owner).await
    }
}
