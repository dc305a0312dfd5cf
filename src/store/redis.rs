//! A store in Redis, in Valkey, or in a cluster of either.

use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind};
use tower::BoxError;

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
/// The remaining life is the server's (`PTTL`), read in one step with the value.
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
/// Redis 2.6.12 has all of them.
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
        let left = u64::try_from(left).map_err(|_| Failure(NONSENSE))?;
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
        self.run(&REPLACE, &self.token_key(key), &arguments).await
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

struct Script {
    code: String,
    /// SHA-1, under which the server knows it.
    hash: String,
}

/// Each script has one key, so that it runs on one node. They read and write with plain commands, so that
/// what is replicated is the same whatever the server's version.
static GET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local value, left = read(KEYS[1])
        return value and {value, left}",
    )
});

static REPLACE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if read(KEYS[1]) ~= (ARGV[3] or false) then return 0 end
        redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
        return 1",
    )
});

static LOCK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local owner = read(KEYS[1])
        if owner and owner ~= ARGV[1] then return 0 end
        redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
        return 1",
    )
});

static UNLOCK: LazyLock<Script> = LazyLock::new(|| {
    Script::new("if read(KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end")
});

/// The value at a key and how many milliseconds it lives; false for what this store has not put there.
const READ: &str = "
    local function read(key)
        local value = redis.pcall('GET', key)
        if type(value) == 'table' then
            if string.find(value.err, 'WRONGTYPE', 1, true) then return false end
            redis.call('GET', key)
        end
        if not value or #value >= 4194304 then return false end
        local left = redis.call('PTTL', key)
        if left < 1 then return false end
        return value, left
    end
";

impl Script {
    fn new(code: &str) -> Self {
        let code = format!("{READ}{code}");
        let hash = redis::Script::new(&code).get_hash().to_owned();
        Self { code, hash }
    }

    fn command(&self, name: &str, script: &str, key: &str, arguments: &[&[u8]]) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(1).arg(key).arg(arguments);
        command
    }
}

/// What kind of failure it was. A server may quote a command's arguments, a token among them: no more
/// of its text gets in here than a word that is known beforehand.
#[derive(Debug)]
struct Failure(&'static str);

const NONSENSE: &str = "the answer made no sense";

/// The first words of error replies.
const CODES: [&str; 23] = [
    "ASK",
    "BUSY",
    "CLUSTERDOWN",
    "CROSSSLOT",
    "DENIED",
    "ERR",
    "EXECABORT",
    "IOERR",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "MOVED",
    "NOAUTH",
    "NOPERM",
    "NOPROTO",
    "NOREPLICAS",
    "NOSCRIPT",
    "OOM",
    "READONLY",
    "TRYAGAIN",
    "UNKILLABLE",
    "WRONGPASS",
    "WRONGTYPE",
];

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self(match error.kind() {
            ErrorKind::Io if error.is_timeout() => "it took too long",
            ErrorKind::Io if error.is_connection_refusal() => "the connection was refused",
            ErrorKind::Io if error.is_connection_dropped() => "the connection was lost",
            ErrorKind::Io => "the connection failed",
            ErrorKind::AuthenticationFailed => "authentication failed",
            ErrorKind::ClusterConnectionNotFound => "no node of the cluster could be reached",
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => NONSENSE,
            ErrorKind::Server(_) | ErrorKind::Extension => code(&error),
            _ => "the client could not ask",
        })
    }
}

/// The code of an error reply.
fn code(error: &RedisError) -> &'static str {
    let code = error.code().unwrap_or_default();
    CODES.into_iter().find(|&known| known == code).unwrap_or("an error reply")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis: {}", self.0)
    }
}

impl std::error::Error for Failure {}
