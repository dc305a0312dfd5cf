//! Defines the connections over which a store sends its commands.

use std::sync::Arc;

use redis::aio::ConnectionLike;
use redis::{Client, Cmd, ErrorKind, FromRedisValue, RedisError, RedisFuture, Value};

use super::reconnect::ReconnectingClient;

/// Names the connections to Redis that a [`RedisStore`](super::RedisStore) can use.
///
/// The trait is implemented for all connections of the crate [`redis`] that can be cloned, such as
/// `ConnectionManager`, `ClusterConnection` and `MultiplexedConnection`, and for [`redis::Client`].
/// You cannot implement it for other types.
///
/// The type parameter `V` identifies the kind of connection. The compiler infers it.
///
/// [`redis::Client`]: https://docs.rs/redis/latest/redis/struct.Client.html
/// [`redis`]: https://docs.rs/redis/latest/redis/
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a connection to Redis that can be shared",
    label = "not a shared connection to Redis",
    note = "use a `redis::Client`, or a `ConnectionManager`, `ClusterConnection` or \
            `MultiplexedConnection` of `redis::aio` in version 1 of the crate `redis`"
)]
pub trait RedisConnection<V>: Sized {
    #[doc(hidden)]
    fn erase(self, _: sealed::Token) -> Connection;
}

mod sealed {
    /// An argument that other crates cannot name, so that they cannot implement the trait.
    #[derive(Clone, Copy, Debug)]
    pub struct Token;
}

pub(super) const SEAL: sealed::Token = sealed::Token;

/// Marks an implementation for connections of version 1 of the crate `redis`.
#[derive(Clone, Copy, Debug)]
pub struct Redis1Connection;

/// Marks the implementation for the client of version 1 of the crate `redis`.
#[derive(Clone, Copy, Debug)]
pub struct Redis1Client;

#[diagnostic::do_not_recommend]
impl<C> RedisConnection<Redis1Connection> for C
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    fn erase(self, _: sealed::Token) -> Connection {
        Connection(Arc::new(SuppliedConnection(self)))
    }
}

impl RedisConnection<Redis1Client> for Client {
    fn erase(self, _: sealed::Token) -> Connection {
        Connection(Arc::new(ReconnectingClient::new(self)))
    }
}

/// A connection of any kind.
#[derive(Clone)]
#[allow(missing_debug_implementations, reason = "a connection has nothing to show")]
pub struct Connection(Arc<dyn SendCommand>);

/// Sends commands to a server.
///
/// A command may be sent twice, so each command must have the same effect and the same answer when
/// it is repeated.
pub(super) trait SendCommand: Send + Sync {
    fn send<'a>(&'a self, command: &'a Cmd) -> RedisFuture<'a, Value>;
}

impl Connection {
    pub(super) async fn send<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        Ok(redis::from_redis_value(self.0.send(command).await?)?)
    }
}

/// A connection that the user has opened.
struct SuppliedConnection<C>(C);

impl<C> SendCommand for SuppliedConnection<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    fn send<'a>(&'a self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let mut connection = self.0.clone();
            match command.query_async(&mut connection).await {
                // The command is repeated once, because a connection manager has replaced a lost
                // connection by now. A connection that does not reconnect fails again at once.
                Err(error) if is_lost(&error) => command.query_async(&mut connection).await,
                answer => answer,
            }
        })
    }
}

/// Returns whether an open connection has ended. A refused connection was never open.
fn is_lost(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Io && error.is_connection_dropped() && !error.is_connection_refusal()
}
