//! Connections that are in step.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::address::Address;
use super::connection::Connection;
use super::failure::Failure;
use super::wire::{Answer, Command};
use crate::util::sync::LockExt;

/// How many connections there may be; who comes then waits.
const MOST: usize = 32;
const MOST_IDLE: usize = 4;

/// Firewalls forget connections on which nothing moves, and say nothing.
const LONGEST_IDLE: Duration = Duration::from_secs(30);

pub(super) struct Pool {
    address: Address,
    places: Semaphore,
    /// Those whose last answer was read to its end, the last used at the end.
    idle: Mutex<Vec<(Connection, Instant)>>,
}

impl Pool {
    pub(super) fn new(address: Address) -> Self {
        Self { address, places: Semaphore::new(MOST), idle: Mutex::default() }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// The answer to a command. Dropped half-way, the connection is dropped with it.
    pub(super) async fn exchange(&self, command: &Command<'_>) -> Result<Answer, Failure> {
        let _place = self.places.acquire().await.expect("the semaphore is never closed");
        if let Some(connection) = self.take() {
            match self.exchange_on(connection, command).await {
                // It went away while it was idle, and so did the others: the server was restarted. Every command
                // can be given twice; a `replace` that was done the first time then says that it was not.
                Err(Failure::Lost(_)) => self.idle().clear(),
                answer => return answer,
            }
        }
        let connection = Connection::open(&self.address).await?;
        self.exchange_on(connection, command).await
    }

    async fn exchange_on(
        &self,
        mut connection: Connection,
        command: &Command<'_>,
    ) -> Result<Answer, Failure> {
        let answer = connection.exchange(command).await?;
        let mut idle = self.idle();
        if idle.len() < MOST_IDLE {
            idle.push((connection, Instant::now()));
        }
        Ok(answer)
    }

    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle();
        idle.retain(|(_, since)| since.elapsed() <= LONGEST_IDLE);
        idle.pop().map(|(connection, _)| connection)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Connection, Instant)>> {
        self.idle.lock_unpoisoned()
    }
}
