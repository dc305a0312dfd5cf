//! The connection over which a store sends its commands.

use std::sync::Arc;

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, Value};

use super::reconnect::Reconnecting;

/// Where a store sends its commands.
///
/// Either kind may send a command twice, so each command must have the same effect and the same
/// answer when it is repeated.
#[derive(Clone)]
pub(super) enum Connection<C> {
    /// A connection that the user gave.
    Given(C),
    /// Connections that the store opens itself.
    Own(Arc<Reconnecting>),
}

impl<C: ConnectionLike + Clone> Connection<C> {
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let answer = match self {
            Self::Given(connection) => ask_given(connection, command).await?,
            Self::Own(connections) => connections.ask(command).await?,
        };
        Ok(redis::from_redis_value(answer)?)
    }
}

/// Repeats the command once if the connection was lost: a connection manager has replaced it by
/// then, and a connection that does not reconnect fails again at once.
async fn ask_given<C: ConnectionLike + Clone>(
    connection: &C,
    command: &Cmd,
) -> Result<Value, RedisError> {
    let mut connection = connection.clone();
    match command.query_async(&mut connection).await {
        Err(error) if is_lost(&error) => command.query_async(&mut connection).await,
        answer => answer,
    }
}

/// Returns whether an open connection has ended. A refused one was never open.
fn is_lost(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Io && error.is_connection_dropped() && !error.is_connection_refusal()
}
