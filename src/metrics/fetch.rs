use std::borrow::Cow;

use tokio::time::Instant;

use super::error_type::error_type;
use super::recorder::{self, Label};
use super::{FETCH, MetricLabel, NO_ERROR, REMAINING, REQUEST, with_error_type, with_label};
use crate::credentials::request::{Cause, TokenRequest};
use crate::error::TokenError;
use crate::token::AccessToken;

/// Says which duration a [`FetchTimer`] measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measured {
    /// A fetch of a cache: its source, with stores and retries.
    Fetch,
    /// One token request to a token endpoint.
    TokenRequest,
}

/// Measures a fetch or a token request, also one that is interrupted.
pub(crate) struct FetchTimer {
    measured: Measured,
    cause: &'static str,
    /// The expiry of the token to replace, for a renewal that is early or late.
    expires_at: Option<Instant>,
    started_at: Instant,
    /// The label of the credentials.
    label: MetricLabel,
    is_recorded: bool,
}

impl FetchTimer {
    /// Starts the measurement of `request`.
    pub(crate) fn start(measured: Measured, request: &TokenRequest) -> Self {
        let (cause, token) = match (request.cause(), request.token()) {
            (Cause::Cold, None) => ("cold", None),
            (Cause::Cold, token) => ("expired", token),
            (Cause::Renewal, token) => ("renewal", token),
            (Cause::Rejected, _) => ("rejected", None),
        };
        let expires_at = token.and_then(AccessToken::expires_at);
        let started_at = Instant::now();
        Self { measured, cause, expires_at, started_at, label: None, is_recorded: false }
    }

    /// Adds the label of the credentials.
    pub(crate) fn with_label(mut self, label: MetricLabel) -> Self {
        self.label = label;
        self
    }

    /// Records the result.
    pub(crate) fn finish(mut self, result: &Result<AccessToken, TokenError>) {
        if !recorder::IS_ENABLED {
            // Do not build the label of an error that is not recorded.
            self.is_recorded = true;
            return;
        }
        match result {
            Ok(token) if token.is_from_store() => self.record("store", None),
            Ok(_) => self.record("success", None),
            Err(error) => self.record("error", Some(error_type(error))),
        }
    }

    fn record(&mut self, outcome: &'static str, error_type: Option<Cow<'static, str>>) {
        self.is_recorded = true;
        let now = Instant::now();
        let name = match self.measured {
            Measured::Fetch => FETCH,
            Measured::TokenRequest => REQUEST,
        };
        let mut labels: [Label; 3] =
            [("cause", self.cause.into()), ("outcome", outcome.into()), NO_ERROR];
        let labels = with_error_type(&mut labels, error_type);
        recorder::histogram(name, &with_label(labels, &self.label), now - self.started_at);
        if let (Measured::Fetch, Some(expires_at)) = (self.measured, self.expires_at) {
            let remaining = expires_at.saturating_duration_since(now);
            recorder::histogram(REMAINING, &with_label(&labels[..2], &self.label), remaining);
        }
    }
}

impl Drop for FetchTimer {
    /// Records a fetch without a result.
    ///
    /// The source panicked, its runtime ended, or the caller dropped it.
    fn drop(&mut self) {
        if !self.is_recorded {
            self.record("error", Some("interrupted".into()));
        }
    }
}
