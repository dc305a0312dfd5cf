//! The parts of a cache that all its slots share.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::{Instant, timeout_at};
use tower::util::BoxCloneService;
use tower::{BoxError, ServiceExt};

use super::schedule::Schedule;
use super::slots::Slots;
use super::sweeper::Sweeper;
use crate::error::{TokenError, TokenErrorKind};
use crate::request::TokenRequest;
use crate::token::AccessToken;

/// Fetches tokens and owns the slots.
pub(super) struct Fetcher {
    /// Locked to clone only, because a source need not be `Sync`.
    source: Mutex<BoxCloneService<TokenRequest, AccessToken, BoxError>>,
    pub(super) schedule: Schedule,
    pub(super) slots: Slots,
    pub(super) sweeper: Arc<Sweeper>,
}

impl Fetcher {
    pub(super) fn new(
        source: BoxCloneService<TokenRequest, AccessToken, BoxError>,
        schedule: Schedule,
        slots: Slots,
    ) -> Self {
        Self { source: Mutex::new(source), schedule, slots, sweeper: Arc::default() }
    }

    /// Sends one token request to the source, within the fetch timeout.
    pub(super) async fn call(&self, request: TokenRequest) -> Result<AccessToken, TokenError> {
        let deadline = Instant::now() + self.schedule.fetch_timeout;
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let credentials = request.credentials().clone();
        let is_bound = credentials.dpop_key().is_some();
        let result = match timeout_at(deadline, source.oneshot(request)).await {
            Ok(Ok(token)) if token.is_dpop() != is_bound => {
                Err(TokenError::token_type(token.token_type()))
            }
            Ok(result) => result.map_err(TokenError::from_source),
            Err(elapsed) => Err(TokenError::with_source(TokenErrorKind::Timeout, elapsed.into())),
        };
        result.map_err(|error| error.at_least_at(credentials.token_endpoint_origin()))
    }
}
