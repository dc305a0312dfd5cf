//! A store in Redis or Valkey.

mod connection;
mod failure;
mod reconnect;
mod script;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Client, ErrorKind, FromRedisValue, IntoConnectionInfo, RedisError, ServerErrorKind};
use tower::BoxError;

use self::connection::Connection;
use self::failure::Failure;
use self::reconnect::Reconnecting;
use self::script::{GET, LOCK, REPLACE, Script, UNLOCK};
use super::{StoredValue, TokenStore};
use crate::error::ConfigError;
use crate::util::limits::MAX_LIFETIME;

/// A [`TokenStore`] in Redis or Valkey, over the crate [`redis`].
///
/// It locks and compares on the server, so under a [`TokenStoreLayer`](crate::store::TokenStoreLayer) all processes
/// that share it make one token request together. Clones share their connection.
///
/// # Which connection
///
/// Use [`open`](Self::open) for one server, for a primary behind one address, and for a proxy in
/// front of several nodes. The store then connects by itself:
///
/// - It connects with the first operation, so a process starts while the server is down.
/// - An operation on a connection that was lost is repeated once on another one, for example after
///   the server closed an idle connection. All operations can be repeated.
/// - After an operation that was not answered until its deadline, the next operation opens another
///   connection. So does an operation after 30 s without an answer, because a firewall may have
///   forgotten the connection.
/// - After an answer such as `READONLY` or `LOADING`, the store resolves the address again and
///   repeats the operation once: after a failover, the address may lead to another node.
/// - One attempt to connect is made at a time. It ends after 2 s and goes on when the operation that
///   began it has reached its deadline.
///
/// Use [`new`](Self::new) for all else, such as a cluster. The connection then reconnects
/// as far as it does so by itself. The store repeats an operation once if the connection was lost.
///
/// - A `ConnectionManager` reconnects after a loss. It does not replace a connection on which
///   nothing arrives any more until the operating system gives it up, which can take a quarter of an
///   hour, nor a connection to a node that became a replica.
/// - A `MultiplexedConnection` does not reconnect.
/// - A `ClusterConnection` finds the new primary of a slot.
///
/// A [`TokenStoreLayer`](crate::store::TokenStoreLayer) waits for an operation until its
/// [`deadline`](crate::store::TokenStoreLayer::deadline), which must allow for connecting. Without a deadline, an
/// operation on a connection of [`open`](Self::open) waits 5 s for an answer. An operation that is
/// given up may still be carried out.
///
/// # What is stored
///
/// `<prefix>{<key>}:token` is a string that expires with the token, and `<prefix>{<key>}:lease` one
/// that expires with the lease. The braces keep both on one node of a cluster. Everyone who can read
/// the strings can use the tokens. A value of another type, without an expiry, or of 4 MiB and more
/// was not stored by this crate: it counts as absent and is overwritten.
///
/// The server measures the remaining life (`PTTL`), in one step with reading the value. Writes that
/// a replica had not received before it became the primary are lost: a lost lease lets two processes
/// make a token request, and a lost token costs one.
///
/// A node that refuses writes hands out no token, because a token that was rejected could not be
/// replaced there.
///
/// # Permissions
///
/// The Redis user needs `GET`, `SET`, `PTTL`, `DEL`, `EVALSHA` and `EVAL` on the keys with the prefix,
/// and what the connection itself needs. None of these commands is newer than Redis 2.6.12.
///
/// ```text
/// ACL SETUSER tokens on >password ~tower-oauth2:* +get +set +pttl +del +evalsha +eval
/// ```
///
/// # Errors
///
/// An error names the kind of failure, such as `READONLY`, `OOM` or a connection that was refused. It
/// quotes neither the server nor the URL, because either may hold a secret.
///
/// # Example
///
/// ```
/// use tower::ServiceBuilder;
/// use tower_oauth2::store::{RedisStore, TokenStoreLayer};
/// # use tower::service_fn;
/// # use tower_oauth2::{AccessToken, TokenRequest};
/// # let endpoint = service_fn(|_: TokenRequest| async { AccessToken::new("t") });
///
/// let store = RedisStore::open("redis://tokens:password@redis.example.com")?.prefix("orders:");
/// let source = ServiceBuilder::new().layer(TokenStoreLayer::new(store)).service(endpoint);
/// # let _ = source;
/// # Ok::<(), tower_oauth2::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct RedisStore<C = MultiplexedConnection> {
    connection: Connection<C>,
    prefix: String,
}

impl RedisStore {
    /// Creates a store on the server at a URL, and connects with the first operation.
    ///
    /// The URL is `redis://[user:password@]host[:port][/database]`, `rediss://` for TLS, or
    /// `unix:///path`. TLS takes a feature of the crate `redis`, such as `tokio-rustls-comp`. For
    /// certificates that the platform does not trust, pass the settings of a
    /// [`Client`]: `client.get_connection_info().clone()`.
    ///
    /// # Errors
    ///
    /// Returns an error if the URL is malformed, or if it asks for TLS and that is not compiled in. A
    /// server that cannot be reached is an error of each operation.
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
    pub fn open(server: impl IntoConnectionInfo) -> Result<Self, ConfigError> {
        let client = Client::open(server).map_err(|error| failure::of_config(&error))?;
        let connection = Connection::Own(Arc::new(Reconnecting::new(client)));
        Ok(Self::with_connection(connection))
    }
}

impl<C> RedisStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    /// Creates a store over a connection, which it clones for each operation.
    ///
    /// The store cannot replace the connection, see
    /// [which connection](RedisStore#which-connection). Set its timeouts of connecting and of
    /// responses to a second or so, and few retries.
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
    pub fn new(connection: C) -> Self {
        Self::with_connection(Connection::Given(connection))
    }

    fn with_connection(connection: Connection<C>) -> Self {
        Self { connection, prefix: "tower-oauth2:".to_owned() }
    }

    /// Sets what all keys begin with, `tower-oauth2:` by default.
    ///
    /// Stores with the same prefix share their tokens. If the prefix has braces in it, a cluster
    /// chooses the node by what is between them (`{tokens}:` keeps all keys on one node), or by the
    /// whole key if that is nothing. A token and its lease need not be on one node.
    #[must_use]
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    fn token_key(&self, key: &str) -> String {
        format!("{}{{{key}}}:token", self.prefix)
    }

    fn lease_key(&self, key: &str) -> String {
        format!("{}{{{key}}}:lease", self.prefix)
    }

    /// Runs a script, and sends its code to a server that does not know it yet.
    async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        key: &str,
        arguments: &[&[u8]],
    ) -> Result<T, BoxError> {
        let by_hash = script.command("EVALSHA", &script.hash, key, arguments);
        let answer = match self.connection.ask(&by_hash).await {
            Err(error) if is_unknown_script(&error) => {
                let by_code = script.command("EVAL", &script.code, key, arguments);
                self.connection.ask(&by_code).await
            }
            answer => answer,
        };
        Ok(answer.map_err(Failure::from)?)
    }
}

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

impl<C> TokenStore for RedisStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    async fn get(&self, key: &str) -> Result<Option<StoredValue>, BoxError> {
        let found: Option<(Vec<u8>, i64)> = self.run(&GET, &self.token_key(key), &[]).await?;
        let Some((value, left)) = found else {
            return Ok(None);
        };
        let left = u64::try_from(left).map_err(|_| Failure::nonsense())?;
        let left = Duration::from_millis(left).min(MAX_LIFETIME);
        Ok(Some(StoredValue::new(value).with_time_to_live(left)))
    }

    async fn set(&self, key: &str, value: &[u8], time_to_live: Duration) -> Result<(), BoxError> {
        // It can be repeated: the second time stores the same value again.
        let mut command = redis::cmd("SET");
        command.arg(self.token_key(key)).arg(value).arg("PX").arg(millis(time_to_live));
        Ok(self.connection.ask(&command).await.map_err(Failure::from)?)
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
                tracing::warn!("a value that is no token was at a token's key in Redis; replaced");
                Ok(true)
            }
            _ => Err(Failure::nonsense().into()),
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

impl<C> fmt::Debug for RedisStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Returns a time for `PX`: at least 1, and no more than a server can add to its clock.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.min(MAX_LIFETIME).as_millis()).unwrap_or(u64::MAX).max(1)
}
