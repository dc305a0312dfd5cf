//! Keeps a pool of connections whose last answer was read to its end.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::address::Address;
use super::command::{Answer, Command};
use super::connection::Connection;
use super::failure::Failure;
use crate::util::sync::LockExt;

/// The maximum number of connections. Further commands wait.
const MAX_CONNECTIONS: usize = 32;
const MAX_IDLE_CONNECTIONS: usize = 4;

/// The longest time without a command after which a connection is still used. Firewalls drop idle
/// connections without telling either side.
const MAX_IDLE_TIME: Duration = Duration::from_secs(30);

pub(super) struct Pool {
    address: Address,
    permits: Semaphore,
    /// Idle connections and the time of their last use, the most recently used one last.
    idle: Mutex<Vec<(Connection, Instant)>>,
}

impl Pool {
    pub(super) fn new(address: Address) -> Self {
        Self { address, permits: Semaphore::new(MAX_CONNECTIONS), idle: Mutex::default() }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Sends a command and returns its answer.
    ///
    /// If this future is dropped early, its connection is closed.
    pub(super) async fn send(&self, command: &Command<'_>) -> Result<Answer, Failure> {
        let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
        if let Some(connection) = self.take() {
            match self.send_on(connection, command).await {
                // The server has closed the idle connection, probably during a restart, so the
                // other idle connections are lost too. Every command can be repeated. If a
                // `replace` was executed before the connection was lost, its repetition returns
                // `false`.
                Err(Failure::Lost(_)) => self.idle().clear(),
                answer => return answer,
            }
        }
        let connection = Connection::open(&self.address).await?;
        self.send_on(connection, command).await
    }

    /// Sends a command on a connection, and returns the connection to the pool.
    async fn send_on(
        &self,
        mut connection: Connection,
        command: &Command<'_>,
    ) -> Result<Answer, Failure> {
        let answer = connection.send(command).await?;
        let mut idle = self.idle();
        if idle.len() < MAX_IDLE_CONNECTIONS {
            idle.push((connection, Instant::now()));
        }
        Ok(answer)
    }

    /// Takes an idle connection.
    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle();
        idle.retain(|(_, since)| since.elapsed() <= MAX_IDLE_TIME);
        idle.pop().map(|(connection, _)| connection)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Connection, Instant)>> {
        self.idle.lock_unpoisoned()
    }
}
