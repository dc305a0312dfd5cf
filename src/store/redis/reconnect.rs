//! Connections that a store opens itself, one at a time.
//!
//! A store does not know the deadline of its operations: the caller drops an operation that takes too
//! long. A dropped operation is therefore a sign of a half-open connection, see [`Unanswered`].

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisError, Value};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::failure::Recovery;
use crate::util::clock::Now;
use crate::util::sync::LockExt;

/// The longest time that one attempt to connect takes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest wait for an answer of callers that set no shorter deadline.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest time without an answer after which a connection is still used. Firewalls and load
/// balancers forget idle connections without a sign to either side.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// The longest wait for an answer that puts no connection in doubt.
const MAX_PATIENCE: Duration = Duration::from_millis(100);

/// One server, and the connection to it.
pub(super) struct Reconnecting {
    client: Client,
    current: Mutex<Option<Arc<Link>>>,
}

impl Reconnecting {
    pub(super) fn new(client: Client) -> Self {
        Self { client, current: Mutex::default() }
    }

    /// Sends a command, twice if the connection has been lost since it was last used.
    pub(super) async fn ask(&self, command: &Cmd) -> Result<Value, RedisError> {
        let (link, is_new) = self.link();
        match self.ask_on(&link, command).await {
            Err(error) if !is_new && Recovery::from(&error) == Recovery::Repeat => {
                self.ask_on(&self.link().0, command).await
            }
            answer => answer,
        }
    }

    async fn ask_on(&self, link: &Arc<Link>, command: &Cmd) -> Result<Value, RedisError> {
        let answer = match link.established().await {
            Ok(mut connection) => {
                let mut unanswered = Unanswered::new(self, link);
                let answer = command.query_async(&mut connection).await;
                unanswered.is_answered = true;
                answer
            }
            Err(error) => Err(error),
        };
        match &answer {
            Err(error) if Recovery::from(error) != Recovery::Keep => self.discard(link),
            _ => link.has_answered(),
        }
        answer
    }

    /// Returns the current link, and whether it was started here.
    fn link(&self) -> (Arc<Link>, bool) {
        let mut current = self.lock();
        if let Some(link) = current.as_ref().filter(|link| link.is_usable(Now::read())) {
            return (link.clone(), false);
        }
        let link = Arc::new(Link::start(self.client.clone()));
        *current = Some(link.clone());
        (link, true)
    }

    /// Makes the next operation open another connection, unless `link` has been replaced already.
    fn discard(&self, link: &Arc<Link>) {
        let mut current = self.lock();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, link)) {
            *current = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Link>>> {
        self.current.lock_unpoisoned()
    }
}

/// A connection, or the attempt to open it.
struct Link {
    /// `None` until the attempt has ended. Closed without a value if its runtime has ended.
    outcome: watch::Receiver<Option<Outcome>>,
    started_at: Now,
    /// When the server answered last. `None` before its first answer on an open connection.
    answered_at: Mutex<Option<Now>>,
}

/// The end of an attempt to connect, and when that was.
struct Outcome {
    connection: Result<MultiplexedConnection, RedisError>,
    at: Now,
}

impl Link {
    /// Connects in a task, which goes on if the operation that needs the connection is dropped:
    /// where connecting takes longer than an operation may, a later operation finds the connection.
    fn start(client: Client) -> Self {
        let (sender, outcome) = watch::channel(None);
        tokio::spawn(async move {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(CONNECT_TIMEOUT))
                .set_response_timeout(Some(ANSWER_TIMEOUT));
            let connection = client.get_multiplexed_async_connection_with_config(&config).await;
            // The receiver is gone if the connection was replaced or the store dropped.
            let _ = sender.send(Some(Outcome { connection, at: Now::read() }));
        });
        Self { outcome, started_at: Now::read(), answered_at: Mutex::default() }
    }

    /// Waits until the connection is open.
    async fn established(&self) -> Result<MultiplexedConnection, RedisError> {
        let mut outcome = self.outcome.clone();
        // The task has a timeout too, but may be on a runtime that is not polled.
        let ended = timeout(CONNECT_TIMEOUT, outcome.wait_for(Option::is_some)).await;
        let ended = ended.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        let outcome = ended.map_err(|_| io::Error::from(io::ErrorKind::NotConnected))?;
        outcome.as_ref().expect("waited for an outcome").connection.clone()
    }

    /// Returns whether an operation may still wait for this connection, or send on it.
    fn is_usable(&self, now: Now) -> bool {
        let has_passed = |time, since: Now| now.has_reached(since.shifted_to(since.mono + time));
        match &*self.outcome.borrow() {
            None => {
                let is_attempted = self.outcome.has_changed().is_ok();
                is_attempted && !has_passed(CONNECT_TIMEOUT, self.started_at)
            }
            Some(Outcome { connection: Err(_), .. }) => false,
            Some(Outcome { at, .. }) => !has_passed(MAX_IDLE, self.answered_at().unwrap_or(*at)),
        }
    }

    /// Returns how long an operation can go without an answer before the connection is in doubt.
    ///
    /// An answer takes one round trip, and connecting took two or more.
    fn patience(&self) -> Duration {
        let outcome = self.outcome.borrow();
        let connected_in = outcome.as_ref().map(|outcome| outcome.at.since(self.started_at));
        connected_in.unwrap_or(MAX_PATIENCE).min(MAX_PATIENCE)
    }

    fn has_answered(&self) {
        *self.answered_at.lock_unpoisoned() = Some(Now::read());
    }

    fn answered_at(&self) -> Option<Now> {
        *self.answered_at.lock_unpoisoned()
    }
}

/// An operation that waits for its answer, and discards the connection if it is dropped.
///
/// On a half-open connection an operation is dropped at its deadline, and there is no other sign. An
/// operation that was dropped early does not count, nor one on a connection over which the server
/// has answered since.
struct Unanswered<'a> {
    connections: &'a Reconnecting,
    link: &'a Arc<Link>,
    since: Instant,
    is_answered: bool,
}

impl<'a> Unanswered<'a> {
    fn new(connections: &'a Reconnecting, link: &'a Arc<Link>) -> Self {
        Self { connections, link, since: Instant::now(), is_answered: false }
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        let has_answered =
            || self.link.answered_at().is_some_and(|answered_at| answered_at.mono > self.since);
        if !self.is_answered && self.since.elapsed() >= self.link.patience() && !has_answered() {
            self.connections.discard(self.link);
        }
    }
}
