//! Calls the source of a cache, within the limits that all its slots share.

use std::fmt;
use std::sync::{Mutex, Weak};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tower::util::BoxCloneService;
use tower::{BoxError, ServiceExt};

use super::schedule::Schedule;
use super::slots::Slots;
use super::sweeper::Sweeper;
use crate::credentials::request::TokenRequest;
use crate::error::{TokenError, TokenErrorKind};
use crate::metrics::MetricLabels;
use crate::token::AccessToken;
use crate::util::clock::unless_suspended;
use crate::util::sync::LockExt;

/// The time that a token request has left after a suspend (C5). With the look for a suspend and the
/// token request that follows, callers wait less than 10 s.
const GRACE_AFTER_SUSPEND: Duration = Duration::from_secs(5);

/// Holds the source and the settings that all slots of a cache share.
///
/// It has only a weak link to the slots. A slot may hold the handle of another slot, because a
/// token can be the assertion of another grant. If a fetcher owned slots, such handles would form a
/// cycle.
pub(super) struct Fetcher {
    /// Locked only while it is cloned, because a source need not be `Sync`.
    source: Mutex<BoxCloneService<TokenRequest, AccessToken, BoxError>>,
    pub(super) schedule: Schedule,
    pub(super) slots: Weak<Slots>,
    pub(super) sweeper: Sweeper,
    pub(super) metric_labels: MetricLabels,
}

impl Fetcher {
    pub(super) fn new(
        source: BoxCloneService<TokenRequest, AccessToken, BoxError>,
        schedule: Schedule,
        slots: Weak<Slots>,
    ) -> Self {
        let (source, sweeper) = (Mutex::new(source), Sweeper::default());
        Self { source, schedule, slots, sweeper, metric_labels: MetricLabels::default() }
    }

    /// Sets how many labels of credentials metrics show.
    pub(super) fn with_metric_labels(self, limit: usize) -> Self {
        Self { metric_labels: MetricLabels::limited_to(limit), ..self }
    }

    /// Sends one token request to the source, within the fetch timeout.
    ///
    /// A request that was under way during a suspend fails soon after it, because its connection is
    /// probably dead. The machine then sends another one, as after any stall of the task (C9).
    pub(super) async fn call(&self, request: TokenRequest) -> Result<AccessToken, TokenError> {
        let deadline = Instant::now() + self.schedule.fetch_timeout;
        let source = self.source.lock_unpoisoned().clone();
        let credentials = request.credentials().clone();
        let is_bound = credentials.dpop_key().is_some();
        let response = unless_suspended(GRACE_AFTER_SUSPEND, source.oneshot(request));
        let result = match timeout_at(deadline, response).await {
            Ok(None) => Err(TokenError::new(TokenErrorKind::Timeout, "the host was suspended")),
            Ok(Some(Ok(token))) if token.is_dpop() != is_bound => {
                Err(TokenError::token_type(token.token_type()))
            }
            Ok(Some(Ok(token))) => Ok(token.compared_with(credentials.requested_scope())),
            Ok(Some(Err(error))) => Err(TokenError::from_source(error)),
            Err(elapsed) => Err(TokenError::with_source(TokenErrorKind::Timeout, elapsed.into())),
        };
        result.map_err(|error| {
            error.at_least_at(credentials.server()).with_label(credentials.label_if_set())
        })
    }
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").field("schedule", &self.schedule).finish_non_exhaustive()
    }
}
