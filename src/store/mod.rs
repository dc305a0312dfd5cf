//! Shares tokens between caches, processes and machines.
//!
//! - [`TokenStoreLayer`] looks into a store before a token is requested, and [`StoredTokens`] is
//!   its service.
//! - [`MemoryStore`], `RedisStore` (feature `redis`) and `MemcachedStore` (feature `memcached`) are
//!   stores.
//! - `EncryptedStore` (feature `encryption`) encrypts the values of another store.
//! - [`TokenStore`] is the trait of custom stores, with [`StoredValue`] and [`ValueNotAccepted`].
//!
//! The guide has an [example with Redis and encryption](crate::guide::processes), and explains [how
//! processes share tokens](crate::guide::sharing).

mod client;
mod dyn_store;
#[cfg(feature = "encryption")]
mod encrypted;
mod fetch;
mod health;
mod key;
mod layer;
mod lease;
#[cfg(feature = "memcached")]
mod memcached;
mod memory;
#[cfg(any(feature = "redis", feature = "memcached"))]
mod prefix;
mod record;
#[cfg(feature = "redis")]
mod redis;
mod value_not_accepted;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tower::BoxError;
use zeroize::Zeroizing;

#[cfg(feature = "encryption")]
pub use self::encrypted::EncryptionKey;
pub use self::layer::StoredTokens;
pub use self::memory::MemoryStore;
#[cfg(feature = "redis")]
pub use self::redis::RedisConnection;
pub use self::value_not_accepted::ValueNotAccepted;

// Rustdoc's search finds an alias at a `pub use`, and not at a definition in a private module.
#[cfg(feature = "encryption")]
#[doc(alias("encryption at rest", "AES-GCM"))]
pub use self::encrypted::EncryptedStore;
#[doc(alias("shared cache", "distributed lock", "lease"))]
#[doc(alias("fleet", "stampede"))]
pub use self::layer::TokenStoreLayer;
#[cfg(feature = "memcached")]
#[doc(alias("memcache", "shared cache"))]
pub use self::memcached::MemcachedStore;
#[cfg(feature = "redis")]
#[doc(alias("Valkey", "shared cache", "distributed lock"))]
pub use self::redis::RedisStore;

/// Stores tokens under keys, with an expiry.
///
/// Implement [`get`](Self::get) and [`set`](Self::set). The other methods have defaults, with which
/// each process makes its own token request when several processes find no token at the same time.
/// A store that implements [`lock`](Self::lock) and [`replace`](Self::replace) lets one process
/// make the token request for all.
///
/// A key is 64 hexadecimal digits: a hash of the credentials, which include the client's secret. A
/// value is shorter than 2 MiB and contains a token. Do not write keys or values to logs or error
/// texts. Everyone who can read the store can use the tokens in it, and can test guesses of a weak
/// client secret against the keys. `EncryptedStore` (feature `encryption`) prevents both.
///
/// A [`TokenStoreLayer`] limits the time of each operation, stops using a store that fails, and
/// ignores malformed values. An operation may therefore be slow, fail, panic, be dropped before it
/// has finished, or return arbitrary bytes. It must not block the thread.
///
/// Return [`ValueNotAccepted`] if the store works but does not accept a value, for example because
/// the value is too large. Every other error counts as a failure of the store.
///
/// # Example
///
/// A store that keeps each value in a file and replaces files atomically. `tokio::fs` moves
/// blocking file operations off the async threads. The store ignores the time to live, because the
/// layer finds the expiry of the token in the value.
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
#[doc(alias("shared cache", "distributed cache"))]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a store of tokens",
    label = "not a `TokenStore`",
    note = "use `MemoryStore`, `RedisStore` (feature `redis`) or `MemcachedStore` (feature \
            `memcached`), or implement `TokenStore` with the methods `get` and `set`"
)]
pub trait TokenStore: Send + Sync + 'static {
    /// Returns the value stored under `key`, or `None` if there is no value.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails. The layer then fetches a token without the store.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<StoredValue>, BoxError>> + Send;

    /// Stores `value` under `key` for `time_to_live`.
    ///
    /// The store should remove the value after that time if it can.
    ///
    /// # Errors
    ///
    /// Returns [`ValueNotAccepted`] if the store works but does not accept the value, and any other
    /// error if the store fails.
    fn set(
        &self,
        key: &str,
        value: &[u8],
        time_to_live: Duration,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Stores `value` if the current value is `expected`, and returns whether it did.
    ///
    /// `None` expects that no value is stored under `key`. If the current value is another one, the
    /// store keeps it and returns `false`. `time_to_live` has the same meaning as for `set`.
    ///
    /// The default implementation calls `get` and `set`. It is not atomic: another process may
    /// store a value between the two calls.
    ///
    /// # Errors
    ///
    /// Returns [`ValueNotAccepted`] if the store works but does not accept the value, and any other
    /// error if the store fails.
    fn replace(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
        time_to_live: Duration,
    ) -> impl Future<Output = Result<bool, BoxError>> + Send {
        async move {
            let current = self.get(key).await?;
            if current.as_ref().map(StoredValue::value) != expected {
                return Ok(false);
            }
            self.set(key, value, time_to_live).await?;
            Ok(true)
        }
    }

    /// Acquires or extends the lease on `key`, and returns whether `owner` holds it.
    ///
    /// The lease ends `lease` from now unless it is extended. Returns `false` if another owner
    /// holds the lease.
    ///
    /// The default implementation returns `true` to every caller, so no caller waits for a lease.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    fn lock(
        &self,
        _key: &str,
        _owner: &str,
        _lease: Duration,
    ) -> impl Future<Output = Result<bool, BoxError>> + Send {
        async { Ok(true) }
    }

    /// Releases the lease on `key` if `owner` holds it.
    ///
    /// The default implementation does nothing.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    fn unlock(
        &self,
        _key: &str,
        _owner: &str,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        async { Ok(()) }
    }
}

/// Holds a value from a [`TokenStore`], with its remaining time to live.
///
/// `Debug` redacts the value, and its memory is wiped on drop.
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
    /// Creates a stored value without a known time to live.
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self { value: Zeroizing::new(value.into()), time_to_live: None }
    }

    /// Sets how much longer the store keeps the value.
    ///
    /// A token expires at the end of this time, or at the expiry in its record if that is earlier.
    /// Do not set it if the store removes values before the requested time to live has passed (at
    /// most 30 days): the token would look older than it is.
    #[must_use]
    pub fn with_time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = Some(time_to_live);
        self
    }

    /// Returns the bytes of the value.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// Returns how much longer the store keeps the value, if known.
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
