//! A store in memcached.
//!
//! The client for the few commands is this crate's own. The published ones were looked at: `async-memcached`
//! reads for as long as a server sends, connects over IPv4 only and brings some sixty crates, one of which (`fxhash`) nobody
//! maintains; `memcache` allocates what a server announces, and its asynchronous half is declared unstable;
//! `memcache-async`, and `bb8-memcached` over it, have no remaining life. A token must not cost a process's memory.

mod address;
mod connection;
mod failure;
mod pool;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower::BoxError;

use self::address::Address;
use self::failure::Failure;
use self::pool::Pool;
use self::wire::{Answer, Command, Item, Mode};
use super::{StoredValue, TokenStore, ValueNotAccepted};
use crate::error::ConfigError;

/// What a server takes as a key (memcached's `doc/protocol.txt`, "Keys").
const LONGEST_KEY: usize = 250;

/// A key of a [`TokenStoreLayer`](super::TokenStoreLayer).
const LAYERS_KEY: usize = 64;

const LEASE: &str = "lease:";

/// What is longer is taken to be a date (memcached's `doc/protocol.txt`, "Expiration times").
const LONGEST_LIFE: u64 = 30 * 24 * 60 * 60;

/// A [`TokenStore`] in memcached, with its meta commands: version 1.6 in a form that knows `ms <key> <length>`,
/// as 1.6.18 does. Clones share their connections.
///
/// It connects when it is first asked and keeps up to 4 idle connections, of 32 at most. One on which an operation
/// failed or was dropped half-way is closed: no operation reads another's answer. A [`TokenStoreLayer`](super::TokenStoreLayer)
/// bounds how long an operation takes; the runtime needs its I/O driver (`enable_io`).
///
/// # What memcached can not give
///
/// - It drops what it likes when its memory is full. A token that is dropped costs a token request, a lease that is
///   dropped lets two processes ask. So does a restart, and it has no replicas: use one server.
/// - It counts in whole seconds, and its second may be nearly over. A token's remaining life is reported as up
///   to three seconds shorter than it is, never longer: tokens that live for two seconds or less are not shared.
///   A lease lasts at least as long as it says, and up to two seconds longer.
/// - It keeps nothing for more than 30 days. A token that lives longer is known for 30 days to those who find it.
/// - It knows neither TLS nor who asks: whoever reaches its port reads and writes every token. Keep it on a network of
///   its own or on a Unix socket, and encrypt what it holds.
/// - It takes values up to 1 MiB unless started with `-I`. A larger token is not shared
///   ([`ValueNotAccepted`]), and the others are.
/// - Without compare-and-swap (started with `-C`) it is not used.
///
/// # Example
///
/// ```
/// use tower_oauth2::store::{MemcachedStore, TokenStoreLayer};
///
/// let store = MemcachedStore::new("memcached.internal:11211")?.prefix("orders:")?;
/// let layer = TokenStoreLayer::new(store);
/// # let _ = layer;
/// # Ok::<(), tower_oauth2::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct MemcachedStore {
    pool: Arc<Pool>,
    prefix: Arc<str>,
}

impl MemcachedStore {
    /// The server at `address`: a `host:port`, or `unix:` and the path of a socket.
    ///
    /// # Errors
    ///
    /// If it is neither. That nothing listens there is an error of each operation.
    pub fn new(address: &str) -> Result<Self, ConfigError> {
        let pool = Pool::new(Address::parse(address)?);
        Ok(Self { pool: Arc::new(pool), prefix: "tower-oauth2:".into() })
    }

    /// What all keys begin with: `tower-oauth2:` unless set. It keeps apart those who share a server; it does not
    /// protect them from each other.
    ///
    /// # Errors
    ///
    /// If it is longer than 180 bytes, or has something else than visible ASCII characters.
    pub fn prefix(self, prefix: &str) -> Result<Self, ConfigError> {
        const WHAT: &str = "memcached prefix";
        if prefix.len() > LONGEST_KEY - LEASE.len() - LAYERS_KEY {
            return Err(ConfigError::new(WHAT, "is longer than 180 bytes"));
        }
        if !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ConfigError::new(WHAT, "has something else than visible ASCII characters"));
        }
        Ok(Self { prefix: prefix.into(), ..self })
    }

    /// Where the value is kept, or with [`LEASE`] the lease.
    fn key(&self, kind: &str, key: &str) -> Result<String, Failure> {
        let key = format!("{}{kind}{key}", self.prefix);
        // Whitespace would end it, and what follows would be the server's next command.
        let is_fine = key.len() <= LONGEST_KEY && key.bytes().all(|byte| byte.is_ascii_graphic());
        if is_fine { Ok(key) } else { Err(Failure::Key) }
    }

    async fn item(&self, key: &str) -> Result<Option<Item>, Failure> {
        match self.pool.exchange(&Command::Get { key }).await? {
            Answer::Item(item) => Ok(Some(item)),
            _ => Ok(None),
        }
    }

    async fn put(
        &self,
        key: &str,
        value: &[u8],
        seconds: u64,
        mode: Mode,
    ) -> Result<Answer, Failure> {
        self.pool.exchange(&Command::Set { key, value, seconds, mode }).await
    }
}

impl TokenStore for MemcachedStore {
    async fn get(&self, key: &str) -> Result<Option<StoredValue>, BoxError> {
        let item = self.item(&self.key("", key)?).await?;
        Ok(item.map(|Item { value, seconds_left, .. }| {
            let stored = StoredValue::new(value);
            match seconds_left {
                // The server's second may be nearly over.
                Some(left) => stored.with_time_to_live(Duration::from_secs(left.saturating_sub(1))),
                // Somebody else's doing; the record's own clock tells.
                None => stored,
            }
        }))
    }

    async fn set(&self, key: &str, value: &[u8], time_to_live: Duration) -> Result<(), BoxError> {
        let key = self.key("", key)?;
        match self.put(&key, value, life(time_to_live), Mode::Whatever).await.map_err(to_store)? {
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
        let mode = match expected {
            None => Mode::Absent,
            Some(expected) => match self.item(&key).await? {
                Some(item) if item.value == expected => Mode::Unchanged(item.cas()?),
                _ => return Ok(false),
            },
        };
        let answer = self.put(&key, value, life(time_to_live), mode).await.map_err(to_store)?;
        Ok(matches!(answer, Answer::Done))
    }

    async fn lock(&self, key: &str, owner: &str, lease: Duration) -> Result<bool, BoxError> {
        let (key, owner, seconds) = (self.key(LEASE, key)?, owner.as_bytes(), lease_life(lease));
        // Looked at first: those who wait for another's lease do so most often, and write nothing.
        if let Some(held) = self.item(&key).await? {
            if held.value != owner {
                return Ok(false);
            }
            match self.put(&key, owner, seconds, Mode::Unchanged(held.cas()?)).await? {
                Answer::Done => return Ok(true),
                // It ended just now, and may be taken.
                Answer::Absent => {}
                _ => return Ok(false),
            }
        }
        Ok(matches!(self.put(&key, owner, seconds, Mode::Absent).await?, Answer::Done))
    }

    async fn unlock(&self, key: &str, owner: &str) -> Result<(), BoxError> {
        let key = self.key(LEASE, key)?;
        if let Some(held) = self.item(&key).await? {
            if held.value == owner.as_bytes() {
                // Unless it ended and is another's by now.
                self.pool.exchange(&Command::Delete { key: &key, cas: held.cas()? }).await?;
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

/// Tells a value that is too large from a failure of the server.
fn to_store(failure: Failure) -> BoxError {
    match failure {
        Failure::TooLarge => ValueNotAccepted::new(failure).into(),
        failure => failure.into(),
    }
}

/// In seconds, never longer than it is. What is shorter than a second takes the place of what was there for one,
/// and reads as ended: with 0 it would never end.
fn life(time_to_live: Duration) -> u64 {
    time_to_live.as_secs().clamp(1, LONGEST_LIFE)
}

/// In seconds, never shorter than it is: the first one may be nearly over.
fn lease_life(lease: Duration) -> u64 {
    let rounded_up = u64::from(lease.subsec_nanos() > 0);
    lease.as_secs().saturating_add(rounded_up + 1).min(LONGEST_LIFE)
}
