//! The parts of a cache that all its slots share.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tower::util::BoxCloneService;
use tower::{BoxError, ServiceExt};

use super::schedule::Schedule;
use super::slots::Slots;
use super::sweeper::Sweeper;
use crate::credentials::request::TokenRequest;
use crate::error::{TokenError, TokenErrorKind};
use crate::token::AccessToken;
use crate::util::clock::unless_suspended;
use crate::util::sync::LockExt;

/// The time that a token request has left after a suspend (C5). With the look for a suspend and the
/// token request that follows, callers wait less than 10 s.
const GRACE_AFTER_SUSPEND: Duration = Duration::from_secs(5);

/// Fetches tokens and owns the slots.
pub(super) struct Fetcher {
    /// Locked to clone only, because a source need not be `Sync`.
    source: Mutex<BoxCloneService<TokenRequest, AccessToken, BoxError>>,
    pub(super) schedule: Schedule,
    pub(super) slots: Slots,
    pub(super) sweeper: Sweeper,
}

impl Fetcher {
    pub(super) fn new(
        source: BoxCloneService<TokenRequest, AccessToken, BoxError>,
        schedule: Schedule,
        slots: Slots,
    ) -> Self {
        Self { source: Mutex::new(source), schedule, slots, sweeper: Sweeper::default() }
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
            Ok(Some(result)) => result.map_err(TokenError::from_source),
            Err(elapsed) => Err(TokenError::with_source(TokenErrorKind::Timeout, elapsed.into())),
        };
        result.map_err(|error| error.at_least_at(credentials.token_endpoint_origin()))
    }
}
