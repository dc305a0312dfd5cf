//! Stores tokens in Redis or Valkey.

mod connection;
mod failure;
mod reconnect;
mod script;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{Client, ErrorKind, FromRedisValue, RedisError, ServerErrorKind};
use tower::BoxError;

pub use self::connection::RedisConnection;
use self::connection::{Connection, SEAL};
use self::failure::Failure;
use self::script::{GET, LOCK, REPLACE, Script, UNLOCK};
use super::{StoredValue, TokenStore, prefix};
use crate::error::ConfigError;
use crate::util::limits::MAX_LIFETIME;

/// Stores tokens in Redis or Valkey.
///
/// It is a [`TokenStore`] over the crate [`redis`]. Leases and comparisons run on the server, so
/// all processes that share the store make one token request together. Clones share their
/// connection.
///
/// # Connections
///
/// Use [`open`](Self::open) for one server, for a primary behind one address, and for a proxy in
/// front of several nodes. The store then manages its connection:
///
/// - It connects for the first operation, so a process can start while the server is down.
/// - If the connection was lost, for example because the server closed an idle connection, the
///   store connects again and repeats the operation once. All operations can be repeated.
/// - If an operation is not answered within its deadline, the next operation opens another
///   connection. So does an operation after 30 s without an answer, because a firewall may have
///   dropped the idle connection.
/// - After an answer such as `READONLY` or `LOADING`, the store resolves the address again and
///   repeats the operation once: after a failover, the address may lead to another node.
/// - One attempt to connect runs at a time. It ends after 2 s, and continues if the operation that
///   started it reaches its deadline.
///
/// Use [`new`](Self::new) for a cluster, for your own TLS certificates, and for any other
/// connection:
///
/// - A `redis::Client` is used as with `open`.
/// - A `ClusterConnection` finds the new primary of a slot.
/// - A `ConnectionManager` reconnects after a loss. It does not replace a half-open connection
///   until the operating system closes it, which can take 15 minutes, nor a connection to a node
///   that has become a replica.
/// - A `MultiplexedConnection` does not reconnect.
///
/// The store repeats an operation once on a connection that was lost. The
/// [`deadline`](crate::store::TokenStoreLayer::deadline) of a
/// [`TokenStoreLayer`](crate::store::TokenStoreLayer) applies to each operation and must leave time
/// for connecting. Without a deadline, an operation on a connection of [`open`](Self::open) waits 5
/// s for an answer. The server may still execute an operation after its deadline.
///
/// # Data
///
/// The string `<prefix>{<key>}:token` contains a token and expires with it. The string
/// `<prefix>{<key>}:lease` expires with the lease. The braces put both on one node of a cluster.
/// Everyone who can read the strings can use the tokens. A value of another type, without an
/// expiry, or of 4 MiB and more was not stored by this crate: it is treated as absent and
/// overwritten.
///
/// The server measures the remaining life (`PTTL`) and reads the value in one step. If a primary
/// fails before a replica has received its last writes, these are lost. A lost lease allows a
/// second token request, and a lost token requires another one.
///
/// A node that refuses writes returns no tokens, because a rejected token could not be replaced
/// there.
///
/// # Permissions
///
/// The Redis user needs `GET`, `SET`, `PTTL`, `DEL`, `EVALSHA` and `EVAL` on the keys with the
/// prefix, and the commands that the connection needs. Redis 2.6.12 and later have these commands.
///
/// ```text
/// ACL SETUSER tokens on >password ~tower-oauth2:* +get +set +pttl +del +evalsha +eval
/// ```
///
/// # Errors
///
/// An error names the kind of failure, such as `READONLY`, `OOM` or a refused connection. It
/// contains neither the answer of the server nor the URL, because both may contain a secret.
///
/// # Example
///
/// ```
/// use tower_oauth2::store::{RedisStore, StoredTokens};
/// # use tower::service_fn;
/// # use tower_oauth2::{AccessToken, TokenRequest};
/// # let endpoint = service_fn(|_: TokenRequest| async { AccessToken::new("t") });
///
/// let store = RedisStore::open("redis://tokens:password@redis.example.com")?.prefix("orders:")?;
/// let source = StoredTokens::new(endpoint, store);
/// # let _ = source;
/// # Ok::<(), tower_oauth2::ConfigError>(())
/// ```
///
/// [`redis`]: https://docs.rs/redis/latest/redis/
#[derive(Clone)]
pub struct RedisStore {
    connection: Connection,
    prefix: Arc<str>,
}

impl RedisStore {
    /// Creates a store on the server at `url`, which connects for its first operation.
    ///
    /// The URL is `redis://[user:password@]host[:port][/database]`, `rediss://` for TLS, or
    /// `unix:///path`. TLS needs a feature of the crate `redis`, such as `tokio-rustls-comp`.
    ///
    /// # Errors
    ///
    /// Returns an error if the URL is malformed, or if it requires TLS and no TLS feature is
    /// enabled. If the server cannot be reached, each operation returns an error.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_oauth2::store::RedisStore;
    ///
    /// let store = RedisStore::open("redis://127.0.0.1:6379/2")?;
    /// assert_eq!(format!("{store:?}"), r#"RedisStore { prefix: "tower-oauth2:", .. }"#);
    /// # Ok::<(), tower_oauth2::ConfigError>(())
    /// ```
    pub fn open(url: impl AsRef<str>) -> Result<Self, ConfigError> {
        let url = url.as_ref();
        let client = Client::open(url).map_err(|error| failure::config_error(&error, url))?;
        Ok(Self::new(client))
    }

    /// Creates a store over your own connection or client.
    ///
    /// [Connections](RedisStore#connections) lists the kinds and how they recover. The store clones
    /// a connection for each operation and cannot replace it. Set its timeouts for connecting and
    /// for responses to about a second, and its number of retries to a small value.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use redis::cluster::ClusterClient;
    /// use tower_oauth2::store::RedisStore;
    ///
    /// # async fn connect() -> Result<impl Sized, redis::RedisError> {
    /// let nodes = ["redis://10.0.0.1", "redis://10.0.0.2", "redis://10.0.0.3"];
    /// let connection = ClusterClient::new(nodes)?.get_async_connection().await?;
    /// let store = RedisStore::new(connection);
    /// # Ok(store)
    /// # }
    /// ```
    pub fn new<V>(connection: impl RedisConnection<V>) -> Self {
        Self { connection: connection.erase(SEAL), prefix: prefix::default() }
    }

    /// Sets the prefix of all keys. The default is `tower-oauth2:`.
    ///
    /// Stores with the same prefix share their tokens. If the prefix contains braces, a cluster
    /// selects the node by the text between them, so `{tokens}:` keeps all keys on one node. With
    /// empty braces, it selects the node by the whole key, and a token and its lease may be on
    /// different nodes.
    ///
    /// # Errors
    ///
    /// Returns an error if the prefix is longer than 180 bytes or contains other characters than
    /// visible ASCII characters.
    pub fn prefix(self, prefix: impl AsRef<str>) -> Result<Self, ConfigError> {
        Ok(Self { prefix: prefix::parse(prefix.as_ref())?, ..self })
    }

    fn token_key(&self, key: &str) -> String {
        format!("{}{{{key}}}:token", self.prefix)
    }

    fn lease_key(&self, key: &str) -> String {
        format!("{}{{{key}}}:lease", self.prefix)
    }

    /// Runs a script by its hash.
    ///
    /// Sends the code of the script to a server that does not know the hash.
    async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        key: &str,
        arguments: &[&[u8]],
    ) -> Result<T, BoxError> {
        let by_hash = script.command("EVALSHA", &script.hash, key, arguments);
        let answer = match self.connection.send(&by_hash).await {
            Err(error) if is_unknown_script(&error) => {
                let by_code = script.command("EVAL", &script.code, key, arguments);
                self.connection.send(&by_code).await
            }
            answer => answer,
        };
        Ok(answer.map_err(Failure::from)?)
    }
}

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

impl TokenStore for RedisStore {
    async fn get(&self, key: &str) -> Result<Option<StoredValue>, BoxError> {
        let found: Option<(Vec<u8>, i64)> = self.run(&GET, &self.token_key(key), &[]).await?;
        let Some((value, left)) = found else {
            return Ok(None);
        };
        let left = u64::try_from(left).map_err(|_| Failure::unexpected_answer())?;
        let left = Duration::from_millis(left).min(MAX_LIFETIME);
        Ok(Some(StoredValue::new(value).with_time_to_live(left)))
    }

    async fn set(&self, key: &str, value: &[u8], time_to_live: Duration) -> Result<(), BoxError> {
        // The command can be repeated, because it stores the same value again.
        let mut command = redis::cmd("SET");
        command.arg(self.token_key(key)).arg(value).arg("PX").arg(millis(time_to_live));
        Ok(self.connection.send(&command).await.map_err(Failure::from)?)
    }

    async fn replace(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
        time_to_live: Duration,
    ) -> Result<bool, BoxError> {
        let time_to_live = millis(time_to_live).to_string();
        let mut arguments = vec![value, time_to_live.as_bytes()];
        arguments.extend(expected);
        match self.run(&REPLACE, &self.token_key(key), &arguments).await? {
            0 => Ok(false),
            1 => Ok(true),
            2 => {
                tracing::warn!("replaced a value in Redis that is not a token");
                Ok(true)
            }
            _ => Err(Failure::unexpected_answer().into()),
        }
    }

    async fn lock(&self, key: &str, owner: &str, lease: Duration) -> Result<bool, BoxError> {
        let lease = millis(lease).to_string();
        self.run(&LOCK, &self.lease_key(key), &[owner.as_bytes(), lease.as_bytes()]).await
    }

    async fn unlock(&self, key: &str, owner: &str) -> Result<(), BoxError> {
        self.run(&UNLOCK, &self.lease_key(key), &[owner.as_bytes()]).await
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Returns a duration for `PX` in milliseconds.
///
/// It is at least 1, because the server refuses 0, and at most a year, because the server adds it
/// to its clock.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.min(MAX_LIFETIME).as_millis()).unwrap_or(u64::MAX).max(1)
}
