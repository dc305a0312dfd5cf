//! A store in Redis, in Valkey, or in a cluster of either.

mod failure;
mod script;

use std::fmt;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind};
use tower::BoxError;

use self::failure::Failure;
use self::script::{GET, LOCK, REPLACE, Script, UNLOCK};
use super::{Stored, TokenStore};
use crate::token::MAX_LIFETIME;

/// A [`TokenStore`] in Redis or Valkey, over a connection of the crate [`redis`].
///
/// It locks and compares on the server, so that under a [`StoreLayer`](crate::StoreLayer) all processes that share
/// it make one token request together. The connection is any that can be cloned and used by many at once: a
/// `MultiplexedConnection`, a `ConnectionManager`, which connects anew by itself, or a `ClusterConnection`. It is cloned
/// for each operation. TLS (`rediss://`), passwords and databases are the connection's business.
///
/// A [`StoreLayer`](crate::StoreLayer) waits for an operation no longer than its deadline, which may be shorter than a connection's
/// own timeouts: set those of connecting and of responses to a second or so, and few retries, as below.
/// An operation that is given up leaves the connection in order; its command may still be carried out.
///
/// # What is in the server
///
/// `<prefix>{<key>}:token`, a string that expires with the token, and `<prefix>{<key>}:lease`, one that
/// expires with the lease; the braces keep both on one node of a cluster. They hold tokens: who can read them can use
/// those. A value of another type, one without an expiry or one of 4 MiB and more was not put there
/// by this store: it counts as absent, and is overwritten.
///
/// The remaining life is the server's (`PTTL`), read in one step with the value. What a replica did not have yet when it took
/// its primary's place is lost: a lease lets two processes ask, a token is asked for anew.
///
/// # What the user of the server may have to be allowed
///
/// Besides what the connection itself needs, `GET`, `SET`, `PTTL`, `DEL`, `EVALSHA` and `EVAL`, on the keys with the
/// prefix:
///
/// ```text
/// ACL SETUSER tokens on >password ~tower-oauth2:* +get +set +pttl +del +evalsha +eval
/// ```
///
/// None of them is newer than Redis 2.6.12.
///
/// # Errors
///
/// Their texts name what kind of failure it was (`READONLY`, `OOM`, a connection that was refused) and quote nothing
/// that the server said, since that may hold a token.
///
/// # Example
///
/// ```no_run
/// use std::time::Duration;
///
/// use redis::Client;
/// use redis::aio::{ConnectionManager, ConnectionManagerConfig};
/// use tower::ServiceBuilder;
/// use tower_oauth2::{RedisStore, StoreLayer};
/// # use tower::service_fn;
/// # use tower_oauth2::{AccessToken, TokenRequest};
/// # let endpoint = service_fn(|_: TokenRequest| async { AccessToken::new("t") });
///
/// # async fn connect() -> Result<impl Sized, redis::RedisError> {
/// let config = ConnectionManagerConfig::new()
///     .set_connection_timeout(Some(Duration::from_secs(1)))
///     .set_response_timeout(Some(Duration::from_secs(1)))
///     .set_number_of_retries(1);
/// let client = Client::open("rediss://tokens:password@redis.example.com")?;
/// // Connects with the first command, so that a process starts while the server is down.
/// let connection = ConnectionManager::new_lazy_with_config(client, config)?;
///
/// # let endpoint = service_fn(|_: TokenRequest| async { AccessToken::new("t") });
/// let source = ServiceBuilder::new()
///     .layer(StoreLayer::new(RedisStore::new(connection)))
///     .service(endpoint);
/// # Ok(source)
/// # }
/// ```
#[derive(Clone)]
pub struct RedisStore<C> {
    connection: C,
    prefix: String,
}

impl<C> RedisStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    /// Keeps tokens where `connection` leads to.
    pub fn new(connection: C) -> Self {
        Self { connection, prefix: "tower-oauth2:".to_owned() }
    }

    /// What all keys begin with: `tower-oauth2:` unless set. Whatever has the same prefix shares its tokens.
    ///
    /// With braces in it, a cluster goes by those (`{tokens}:` keeps all keys on one node), or, when there is nothing
    /// between them, by the whole key. A token and its lease need not be on one node.
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

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        command.query_async(&mut self.connection.clone()).await
    }

    /// What the script comes to; a server that does not know it yet is told it.
    async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        key: &str,
        arguments: &[&[u8]],
    ) -> Result<T, BoxError> {
        let by_hash = script.command("EVALSHA", &script.hash, key, arguments);
        let answer = match self.ask(&by_hash).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.ask(&script.command("EVAL", &script.code, key, arguments)).await
            }
            answer => answer,
        };
        Ok(answer.map_err(Failure::from)?)
    }
}

impl<C> TokenStore for RedisStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    async fn get(&self, key: &str) -> Result<Option<Stored>, BoxError> {
        let found: Option<(Vec<u8>, i64)> = self.run(&GET, &self.token_key(key), &[]).await?;
        let Some((value, left)) = found else {
            return Ok(None);
        };
        let left = u64::try_from(left).map_err(|_| Failure::nonsense())?;
        let left = Duration::from_millis(left).min(MAX_LIFETIME);
        Ok(Some(Stored::new(value).with_time_to_live(left)))
    }

    async fn set(&self, key: &str, value: &[u8], time_to_live: Duration) -> Result<(), BoxError> {
        let mut command = redis::cmd("SET");
        command.arg(self.token_key(key)).arg(value).arg("PX").arg(millis(time_to_live));
        Ok(self.ask(&command).await.map_err(Failure::from)?)
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
                tracing::warn!("what was at a token's key in Redis was none; it was replaced");
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

/// As `PX` takes it: at least one, and no more than a server can add to its clock.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.min(MAX_LIFETIME).as_millis()).unwrap_or(u64::MAX).max(1)
}
