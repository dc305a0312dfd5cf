//! What a slot remembers under its lock, and what is told of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::current::Current;
use super::flight::Flight;
use crate::cache::schedule::Schedule;
use crate::error::{TokenError, TokenErrorKind};
use crate::meter;
use crate::request::{Cause, TokenRequest};
use crate::token::AccessToken;

#[derive(Debug, Default)]
pub(in crate::cache) struct State {
    pub(in crate::cache) flight: Option<Flight>,
    /// Stays known until another token arrives.
    pub(super) rejected: Option<Rejected>,
    pub(super) failure: Option<Failure>,
    /// Failures in a row, of one class.
    pub(super) failures: u32,
}

/// A token that an API does not take, and the claims that it wants the next one to have.
#[derive(Clone, Debug)]
pub(super) struct Rejected {
    pub(super) token: AccessToken,
    pub(super) number: u64,
    pub(super) claims: Option<Arc<str>>,
}

#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: TokenError,
    pub(super) until: Instant,
    pub(super) is_transient: bool,
    /// The credentials' version that it holds for, if they have something to do with it.
    pub(super) version: Option<u64>,
    /// While there was a valid token to go on with.
    pub(super) is_of_renewal: bool,
}

impl State {
    /// Takes away a flight whose runtime nobody seems to drive any more.
    pub(in crate::cache) fn take_overdue(&mut self, now: Instant) -> Option<Flight> {
        self.flight.take_if(|flight| flight.is_overdue(now))
    }

    pub(super) fn is_awaiting(&self, id: u64) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.id() == id)
    }

    /// The token that an API rejected while this flight, which began before, was on its way, if what
    /// the flight brought is of no use for that reason.
    pub(super) fn rejected_since(
        &self,
        request: &TokenRequest,
        result: &Result<AccessToken, TokenError>,
    ) -> Option<&Rejected> {
        let rejected = self.rejected.as_ref().filter(|_| request.cause() != Cause::Rejected)?;
        let is_of_no_use = match result {
            Ok(token) => token.has_same_secret_as(&rejected.token),
            // A renewal that failed does not hold back the first fetch after a rejection.
            Err(error) => request.cause() == Cause::Renewal && error.retry_after().is_none(),
        };
        is_of_no_use.then_some(rejected)
    }

    /// Nothing stands against another token request any more.
    pub(super) fn end_failures(&mut self) -> Over {
        self.failures = 0;
        Over(self.failure.take())
    }

    pub(super) fn fail(
        &mut self,
        error: TokenError,
        version: u64,
        current: Option<Arc<Current>>,
        now: Instant,
        schedule: &Schedule,
    ) -> (TokenError, News) {
        let is_transient = error.is_transient();
        let is_same_class =
            self.failure.as_ref().is_none_or(|failure| failure.is_transient == is_transient);
        self.failures = if is_same_class { self.failures.saturating_add(1) } else { 1 };
        let window = schedule.window(is_transient, self.failures, error.retry_after());
        let until = now + window;
        if let Some(current) = &current {
            // Nobody waits for it, and a fleet may be at it: a few tries are left all the same.
            let pause = (current.left(now) / 5).min(Duration::from_secs(60));
            let pause = pause.mul_f64(1.0 - fastrand::f64() / 2.0);
            current.put_off_renewal(until.max(now + pause));
        }
        // A secret that could not be read, or a key that was half written, may be there the next moment.
        let may_be_the_secret =
            !is_transient || error.kind() == TokenErrorKind::ClientAuthentication;
        let is_of_renewal = current.is_some();
        let before = self.failure.replace(Failure {
            error: error.clone(),
            until,
            is_transient,
            version: may_be_the_secret.then_some(version),
            is_of_renewal,
        });
        let news = News::Failed { error: error.clone(), window, is_of_renewal, before };
        let error = if window.is_zero() { error } else { error.with_retry_in(window) };
        (error, news)
    }
}

/// A failure that nobody is to remember, until the lock is given back.
#[derive(Debug, Default)]
pub(super) struct Over(Option<Failure>);

impl Over {
    pub(super) fn tell(self) {
        if self.0.is_some() {
            meter::failing_credentials(-1);
        }
    }
}

/// What is told once the lock is given back: whoever listens may come back for a token.
pub(super) enum News {
    Arrived { number: u64, lifetime: Option<Duration>, over: Over },
    NoLongerLife { wait: Duration },
    Failed { error: TokenError, window: Duration, is_of_renewal: bool, before: Option<Failure> },
}

impl News {
    pub(super) fn tell(self) {
        match self {
            Self::Arrived { number, lifetime, over } => {
                over.tell();
                tracing::debug!(number, ?lifetime, "token arrived");
            }
            Self::NoLongerLife { wait } => {
                meter::backoff(wait, "no_gain");
                tracing::debug!(?wait, "renewed token lives no longer than the present one");
            }
            Self::Failed { error, window, is_of_renewal, before } => {
                if before.is_none() {
                    meter::failing_credentials(1);
                }
                let class = if error.is_transient() { "transient" } else { "permanent" };
                meter::backoff(window, class);
                if is_of_renewal {
                    tracing::warn!(%error, retry_in = ?window, "token could not be renewed");
                } else {
                    tracing::warn!(%error, retry_in = ?window, "token could not be had");
                }
            }
        }
    }
}
