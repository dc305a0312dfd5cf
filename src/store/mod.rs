//! Sharing tokens between caches, processes and machines.

mod claims;
#[cfg(feature = "encryption")]
mod encrypted;
mod erased;
mod fetch;
mod health;
mod key;
mod layer;
mod lease;
#[cfg(feature = "memcached")]
mod memcached;
mod memory;
mod not_accepted;
mod patience;
mod record;
#[cfg(feature = "redis")]
mod redis;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tower::BoxError;
use zeroize::Zeroizing;

#[cfg(feature = "encryption")]
pub use self::encrypted::{EncryptedStore, EncryptionKey};
pub use self::layer::{StoredTokens, TokenStoreLayer};
#[cfg(feature = "memcached")]
pub use self::memcached::MemcachedStore;
pub use self::memory::MemoryStore;
pub use self::not_accepted::ValueNotAccepted;
#[cfg(feature = "redis")]
pub use self::redis::RedisStore;

/// Where tokens are kept for others: bytes under a key, for a time.
///
/// [`get`](Self::get) and [`set`](Self::set) are all that has to be written. The other methods have
/// defaults with which every process asks for itself when several find nothing; a store that can
/// lock and compare makes that one token request for all of them.
///
/// Keys are 64 hexadecimal digits, a hash over the client's secret among other things; values are below 2 MiB and
/// hold a token. Keep both out of texts and traces, those of errors too. Whoever can read a store has the tokens, and can
/// test guesses of secrets that are no random ones; behind `EncryptedStore` (feature `encryption`), neither. A [`TokenStoreLayer`] sees to deadlines, back-off and rubbish: an operation may take its time,
/// fail, panic, be dropped half-way, and answer with anything. It must not block the thread for long.
///
/// A store that does not accept a value, for example because it is too large, returns
/// [`ValueNotAccepted`]. Every other error is a failure of the store.
///
/// # Example
///
/// A store that keeps each record in a file and replaces files atomically. `tokio::fs` keeps a file
/// system that hangs off the async threads. The layer finds the end of a token in its record.
///
/// ```
/// use std::path::PathBuf;
/// use std::time::Duration;
///
/// use tokio::fs;
/// use tower::BoxError;
/// use tower_oauth2::store::{StoredValue, TokenStore};
///
/// struct Files(PathBuf);
///
/// impl TokenStore for Files {
///     async fn get(&self, key: &str) -> Result<Option<StoredValue>, BoxError> {
///         match fs::read(self.0.join(key)).await {
///             Ok(value) => Ok(Some(StoredValue::new(value))),
///             Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
///             Err(error) => Err(error.into()),
///         }
///     }
///
///     async fn set(&self, key: &str, value: &[u8], _ttl: Duration) -> Result<(), BoxError> {
///         let new = self.0.join(format!("{key}.{}", std::process::id()));
///         fs::write(&new, value).await?;
///         Ok(fs::rename(new, self.0.join(key)).await?)
///     }
/// }
/// # let _ = Files(".".into());
/// ```
pub trait TokenStore: Send + Sync + 'static {
    /// What is kept under `key`, if anything is.
    ///
    /// # Errors
    ///
    /// Returns any failure. The token request then does without the store. This holds for all
    /// methods.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<StoredValue>, BoxError>> + Send;

    /// Stores `value` under `key` for `time_to_live`, and removes it then if the store can do that.
    ///
    /// # Errors
    ///
    /// Returns [`ValueNotAccepted`] if the store works but does not accept the value. So does
    /// [`replace`](Self::replace).
    fn set(
        &self,
        key: &str,
        value: &[u8],
        time_to_live: Duration,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Puts `value` in the place of `expected`, or where nothing is when that is `None`. `false` when
    /// something else is there by now: it stays.
    ///
    /// By default that is a `get` and a `set`, between which another process may come.
    fn replace(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
        time_to_live: Duration,
    ) -> impl Future<Output = Result<bool, BoxError>> + Send {
        async move {
            let there = self.get(key).await?;
            if there.as_ref().map(StoredValue::value) != expected {
                return Ok(false);
            }
            self.set(key, value, time_to_live).await?;
            Ok(true)
        }
    }

    /// Takes the lease on `key` for `owner`, or, when `owner` has it, makes it last for `lease` from now.
    /// `false` when somebody else has it. A lease that nobody makes last longer ends by itself.
    ///
    /// By default there is no lease, and all may go ahead.
    fn lock(
        &self,
        _key: &str,
        _owner: &str,
        _lease: Duration,
    ) -> impl Future<Output = Result<bool, BoxError>> + Send {
        async { Ok(true) }
    }

    /// Gives the lease on `key` back, if `owner` has it.
    fn unlock(
        &self,
        _key: &str,
        _owner: &str,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        async { Ok(()) }
    }
}

/// A value out of a [`TokenStore`].
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower_oauth2::store::StoredValue;
///
/// let stored = StoredValue::new(b"bytes".to_vec()).with_time_to_live(Duration::from_secs(60));
/// assert_eq!(stored.value(), b"bytes");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct StoredValue {
    value: Zeroizing<Vec<u8>>,
    time_to_live: Option<Duration>,
}

impl StoredValue {
    /// A value of which the store does not know how long it will keep it.
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self { value: Zeroizing::new(value.into()), time_to_live: None }
    }

    /// Sets how much longer the store keeps the value.
    ///
    /// A token lives no longer than that, and no longer than its record says by the wall clock. Leave
    /// it out if the store keeps values for less time than it is told to (30 days at most), because
    /// the token would seem to be older than it is.
    #[must_use]
    pub fn with_time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = Some(time_to_live);
        self
    }

    /// The value.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// How much longer the store keeps it, if it knows.
    pub fn time_to_live(&self) -> Option<Duration> {
        self.time_to_live
    }
}

impl fmt::Debug for StoredValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredValue")
            .field("value", &"**redacted**")
            .field("time_to_live", &self.time_to_live)
            .finish()
    }
}

impl<T: TokenStore> TokenStore for Arc<T> {
    async fn get(&self, key: &str) -> Result<Option<StoredValue>, BoxError> {
        T::get(self, key).await
    }

    async fn set(&self, key: &str, value: &[u8], time_to_live: Duration) -> Result<(), BoxError> {
        T::set(self, key, value, time_to_live).await
    }

    async fn replace(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
        time_to_live: Duration,
    ) -> Result<bool, BoxError> {
        T::replace(self, key, expected, value, time_to_live).await
    }

    async fn lock(&self, key: &str, owner: &str, lease: Duration) -> Result<bool, BoxError> {
        T::lock(self, key, owner, lease).await
    }

    async fn unlock(&self, key: &str, owner: &str) -> Result<(), BoxError> {
        T::unlock(self, key, owner).await
    }
}
