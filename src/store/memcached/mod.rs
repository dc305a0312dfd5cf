//! Stores tokens in memcached.
//!
//! This module has its own client for a few commands, because a published client could exhaust the
//! memory of the process or is not maintained. `async-memcached` reads answers without a limit,
//! supports only IPv4, and brings about sixty crates. `memcache` allocates the length that a server
//! announces, and its asynchronous part is unstable. `memcache-async` and `bb8-memcached` do not
//! report the remaining life of a value.

mod address;
mod command;
mod connection;
mod failure;
mod pool;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower::BoxError;

use self::address::Address;
use self::command::{Answer, Command, Condition, Item};
use self::failure::Failure;
use self::pool::Pool;
use super::{StoredValue, TokenStore, ValueNotAccepted, prefix};
use crate::error::ConfigError;

/// The maximum length of a key ("Keys" in `doc/protocol.txt` of memcached).
const MAX_KEY: usize = 250;

const LEASE: &str = "lease:";

/// The longest time to live in seconds. The server takes a larger number as a date ("Expiration
/// times" in `doc/protocol.txt` of memcached).
const MAX_SECONDS: u64 = 30 * 24 * 60 * 60;

/// Stores tokens in memcached 1.6.18 or later, which supports meta commands.
///
/// It is a [`TokenStore`]. It connects for its first operation, opens up to 32 connections and
/// keeps up to 4 of them idle. It closes a connection on which an operation has failed or was
/// dropped, so that no operation reads the answer of another one. Clones share their connections.
/// The store needs the I/O driver of the tokio runtime (`enable_io`), and has no timeouts: a
/// [`TokenStoreLayer`](super::TokenStoreLayer) limits the time of an operation.
///
/// # Limitations of memcached
///
/// - The server evicts values when its memory is full, and loses all on a restart. A lost token
///   requires another token request, and a lost lease allows a second token request. Use a single
///   server, because there are no replicas.
/// - The server counts in whole seconds. The remaining life of a token is up to three seconds
///   shorter than requested, and never longer, so tokens that live for two seconds or less are not
///   shared. A lease lasts up to two seconds longer than requested.
/// - The server keeps a value for at most 30 days, and so does the store for tokens that live
///   longer.
/// - There is no TLS and no authentication: everyone who can reach the port can read and write all
///   tokens. Use a private network or a Unix socket, and `EncryptedStore` (feature `encryption`).
/// - The server accepts values up to 1 MiB by default (option `-I`). A larger token is not shared
///   ([`ValueNotAccepted`]).
/// - A server without compare-and-swap (option `-C`) is not supported: operations return an error.
///
/// # Example
///
/// ```
/// use tower_oauth2::store::{MemcachedStore, StoredTokens};
/// # use tower::service_fn;
/// # use tower_oauth2::{AccessToken, TokenRequest};
/// # let endpoint = service_fn(|_: TokenRequest| async { AccessToken::new("t") });
///
/// let store = MemcachedStore::open("memcached://memcached.internal:11211")?.prefix("orders:")?;
/// let source = StoredTokens::new(endpoint, store);
/// # let _ = source;
/// # Ok::<(), tower_oauth2::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct MemcachedStore {
    pool: Arc<Pool>,
    prefix: Arc<str>,
}

impl MemcachedStore {
    /// Creates a store on the server at `url`, which connects for its first operation.
    ///
    /// The URL is `memcached://host[:port]` with the default port 11211, or `unix:///path` for a
    /// Unix socket.
    ///
    /// # Errors
    ///
    /// Returns an error if the URL is malformed. If the server cannot be reached, each operation
    /// returns an error.
    pub fn open(url: impl AsRef<str>) -> Result<Self, ConfigError> {
        let pool = Pool::new(Address::parse(url.as_ref())?);
        Ok(Self { pool: Arc::new(pool), prefix: prefix::default() })
    }

    /// Sets the prefix of all keys. The default is `tower-oauth2:`.
    ///
    /// Stores with the same prefix share their tokens. The prefix is no protection, because every
    /// client can read all keys.
    ///
    /// # Errors
    ///
    /// Returns an error if the prefix is longer than 180 bytes or contains other characters than
    /// visible ASCII characters.
    pub fn prefix(self, prefix: impl AsRef<str>) -> Result<Self, ConfigError> {
        Ok(Self { prefix: prefix::parse(prefix.as_ref())?, ..self })
    }

    /// Returns the key of a value, or of a lease if `kind` is [`LEASE`].
    fn key(&self, kind: &str, key: &str) -> Result<String, Failure> {
        let key = format!("{}{kind}{key}", self.prefix);
        // Whitespace would end the key, and the server would read the rest as another command.
        let is_valid = key.len() <= MAX_KEY && key.bytes().all(|byte| byte.is_ascii_graphic());
        if is_valid { Ok(key) } else { Err(Failure::InvalidKey) }
    }

    async fn item(&self, key: &str) -> Result<Option<Item>, Failure> {
        match self.pool.send(&Command::Get { key }).await? {
            Answer::Item(item) => Ok(Some(item)),
            _ => Ok(None),
        }
    }

    async fn put(
        &self,
        key: &str,
        value: &[u8],
        seconds: u64,
        condition: Condition,
    ) -> Result<Answer, Failure> {
        self.pool.send(&Command::Set { key, value, seconds, condition }).await
    }
}

impl TokenStore for MemcachedStore {
    async fn get(&self, key: &str) -> Result<Option<StoredValue>, BoxError> {
        let item = self.item(&self.key("", key)?).await?;
        Ok(item.map(|Item { value, seconds_left, .. }| {
            let stored = StoredValue::new(value);
            match seconds_left {
                // The time is rounded down, because the current second of the server may be almost
                // over.
                Some(left) => stored.with_time_to_live(Duration::from_secs(left.saturating_sub(1))),
                // Another client stored the value without an expiry. The record has its own expiry.
                None => stored,
            }
        }))
    }

    async fn set(&self, key: &str, value: &[u8], time_to_live: Duration) -> Result<(), BoxError> {
        let key = self.key("", key)?;
        match self
            .put(&key, value, seconds(time_to_live), Condition::Always)
            .await
            .map_err(into_store_error)?
        {
            Answer::Done => Ok(()),
            _ => Err(Failure::Malformed.into()),
        }
    }

    async fn replace(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
        time_to_live: Duration,
    ) -> Result<bool, BoxError> {
        let key = self.key("", key)?;
        let condition = match expected {
            None => Condition::IfAbsent,
            Some(expected) => match self.item(&key).await? {
                Some(item) if item.value == expected => Condition::IfUnchanged(item.cas()?),
                _ => return Ok(false),
            },
        };
        let answer = self
            .put(&key, value, seconds(time_to_live), condition)
            .await
            .map_err(into_store_error)?;
        Ok(matches!(answer, Answer::Done))
    }

    async fn lock(&self, key: &str, owner: &str, lease: Duration) -> Result<bool, BoxError> {
        let (key, owner, seconds) = (self.key(LEASE, key)?, owner.as_bytes(), lease_seconds(lease));
        // The lease is read first, because most calls are from processes that wait for the lease of
        // another one. They need no write.
        if let Some(held) = self.item(&key).await? {
            if held.value != owner {
                return Ok(false);
            }
            match self.put(&key, owner, seconds, Condition::IfUnchanged(held.cas()?)).await? {
                Answer::Done => return Ok(true),
                // The lease has just ended, so it is free.
                Answer::Absent => {}
                _ => return Ok(false),
            }
        }
        Ok(matches!(self.put(&key, owner, seconds, Condition::IfAbsent).await?, Answer::Done))
    }

    async fn unlock(&self, key: &str, owner: &str) -> Result<(), BoxError> {
        let key = self.key(LEASE, key)?;
        if let Some(held) = self.item(&key).await? {
            if held.value == owner.as_bytes() {
                // The number keeps the lease of another owner, if this one has ended in the
                // meantime.
                self.pool.send(&Command::Delete { key: &key, cas: held.cas()? }).await?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for MemcachedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemcachedStore")
            .field("address", &self.pool.address())
            .field("prefix", &self.prefix)
            .finish()
    }
}

/// Converts a failure to an error of the store.
///
/// A value that is too large is not a failure of the store.
fn into_store_error(failure: Failure) -> BoxError {
    match failure {
        Failure::TooLarge => ValueNotAccepted::new(failure).into(),
        failure => failure.into(),
    }
}

/// Rounds a time to live down to seconds.
///
/// The result is at least 1, because 0 means that the value never expires. The reader of such a
/// value subtracts a second and finds that it has expired.
fn seconds(time_to_live: Duration) -> u64 {
    time_to_live.as_secs().clamp(1, MAX_SECONDS)
}

/// Rounds a lease up to seconds, and adds one second.
///
/// The current second may be almost over on the server.
fn lease_seconds(lease: Duration) -> u64 {
    let rounded_up = u64::from(lease.subsec_nanos() > 0);
    lease.as_secs().saturating_add(rounded_up + 1).min(MAX_SECONDS)
}
