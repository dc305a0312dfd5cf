//! Opens and replaces the connection of a client.
//!
//! A store does not know the deadline of its operations, because the caller drops an operation that
//! takes too long. A dropped operation therefore indicates a half-open connection, see
//! [`Unanswered`].

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisError, RedisFuture, Value};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::connection::SendCommand;
use super::failure::Recovery;
use crate::util::clock::Now;
use crate::util::sync::LockExt;

/// The longest time that one attempt to connect takes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest wait for an answer of callers that set no shorter deadline.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest time without an answer after which a connection is still used. Firewalls and load
/// balancers drop idle connections without telling either side.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// The longest wait for an answer that does not make a connection suspect.
const MAX_NORMAL_WAIT: Duration = Duration::from_millis(100);

/// A server and the current connection to it.
pub(super) struct ReconnectingClient {
    client: Client,
    current: Mutex<Option<Arc<Link>>>,
}

impl ReconnectingClient {
    pub(super) fn new(client: Client) -> Self {
        Self { client, current: Mutex::default() }
    }

    async fn send_on(&self, link: &Arc<Link>, command: &Cmd) -> Result<Value, RedisError> {
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
            _ => link.record_answer(),
        }
        answer
    }

    /// Returns the current link and whether this call has started it.
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

impl SendCommand for ReconnectingClient {
    /// Sends a command, and repeats it if the connection was lost.
    fn send<'a>(&'a self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let (link, is_new) = self.link();
            match self.send_on(&link, command).await {
                Err(error) if !is_new && Recovery::from(&error) == Recovery::Repeat => {
                    self.send_on(&self.link().0, command).await
                }
                answer => answer,
            }
        })
    }
}

/// A connection or the attempt to open it.
struct Link {
    /// `None` until the attempt has ended. The channel is closed if the runtime of the attempt
    /// ends.
    outcome: watch::Receiver<Option<Outcome>>,
    started_at: Now,
    /// The time of the last answer. `None` before the first answer on an open connection.
    answered_at: Mutex<Option<Now>>,
}

/// The result of an attempt to connect and the time when the attempt ended.
struct Outcome {
    connection: Result<MultiplexedConnection, RedisError>,
    at: Now,
}

impl Link {
    /// Connects in a task, which continues if the operation that started it is dropped.
    ///
    /// If connecting takes longer than the deadline of an operation, a later one uses the
    /// connection.
    fn start(client: Client) -> Self {
        let (sender, outcome) = watch::channel(None);
        tokio::spawn(async move {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(CONNECT_TIMEOUT))
                .set_response_timeout(Some(ANSWER_TIMEOUT));
            let connection = client.get_multiplexed_async_connection_with_config(&config).await;
            // The receiver is dropped if the connection was replaced or the store was dropped.
            let _ = sender.send(Some(Outcome { connection, at: Now::read() }));
        });
        Self { outcome, started_at: Now::read(), answered_at: Mutex::default() }
    }

    /// Waits until the connection is open.
    async fn established(&self) -> Result<MultiplexedConnection, RedisError> {
        let mut outcome = self.outcome.clone();
        // The task has its own timeout, but its runtime may no longer poll it.
        let ended = timeout(CONNECT_TIMEOUT, outcome.wait_for(Option::is_some)).await;
        let ended = ended.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        let outcome = ended.map_err(|_| io::Error::from(io::ErrorKind::NotConnected))?;
        outcome.as_ref().expect("`wait_for` returns once the outcome is set").connection.clone()
    }

    /// Returns whether an operation may wait for this connection or send on it.
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

    /// Returns how long an operation may wait for an answer before the connection is suspect.
    ///
    /// An answer takes one round trip, and connecting took at least two.
    fn normal_wait(&self) -> Duration {
        let outcome = self.outcome.borrow();
        let connected_in = outcome.as_ref().map(|outcome| outcome.at.since(self.started_at));
        connected_in.unwrap_or(MAX_NORMAL_WAIT).min(MAX_NORMAL_WAIT)
    }

    fn record_answer(&self) {
        *self.answered_at.lock_unpoisoned() = Some(Now::read());
    }

    fn answered_at(&self) -> Option<Now> {
        *self.answered_at.lock_unpoisoned()
    }
}

/// Discards the connection if an operation is dropped before its answer.
///
/// The only sign of a half-open connection is an operation that is dropped at its deadline. An
/// operation that was dropped early does not count. If the server has answered another operation
/// over the same connection in the meantime, the connection is not suspect either.
struct Unanswered<'a> {
    client: &'a ReconnectingClient,
    link: &'a Arc<Link>,
    since: Instant,
    is_answered: bool,
}

impl<'a> Unanswered<'a> {
    fn new(client: &'a ReconnectingClient, link: &'a Arc<Link>) -> Self {
        Self { client, link, since: Instant::now(), is_answered: false }
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        let has_answered =
            || self.link.answered_at().is_some_and(|answered_at| answered_at.mono > self.since);
        if !self.is_answered && self.since.elapsed() >= self.link.normal_wait() && !has_answered() {
            self.client.discard(self.link);
        }
    }
}
