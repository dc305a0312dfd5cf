//! Remembers the earlier sends of a request.

use http::Response;
use tower::BoxError;

use super::deadline::Deadline;
use super::progress::{Freshness, Progress};
use crate::cache::{IssuedToken, Requirements, Sequence};
use crate::error::TokenError;
use crate::metrics;

/// Describes the earlier sends of a request, and the token that the next send needs.
pub(super) struct EarlierSends {
    pub(super) progress: Progress,
    /// The token that the request needs.
    pub(super) requirements: Requirements,
    /// The end of the wait for a token, if the request has a timeout.
    ///
    /// It is set when the request waits for the first time.
    pub(super) deadline: Option<Deadline>,
    /// Present once a token was rejected and the request is resent with another one.
    pub(super) rejection: Option<EarlierRejection>,
}

/// Describes the rejections that led to a resend with another token.
pub(super) struct EarlierRejection {
    /// The response to the first send, without body and extensions.
    pub(super) response: Response<()>,
    /// A token is fresh if its fetch began after this point.
    pub(super) since: Sequence,
    /// Counts the resend once its outcome is known.
    pub(super) counted: metrics::ReplayOutcome,
}

impl EarlierSends {
    /// Creates the value for a request that has not been sent.
    pub(super) fn new(requirements: Requirements) -> Self {
        Self { progress: Progress::FIRST, requirements, deadline: None, rejection: None }
    }

    /// Records that a token was rejected, and that the request is resent with another one.
    pub(super) fn add_rejection<R>(&mut self, response: Response<R>, since: Sequence) {
        self.progress = self.progress.with_new_token();
        match &mut self.rejection {
            Some(rejection) => rejection.since = since,
            None => {
                // Extensions may hold a connection, and a request that waits must hold nothing
                // (R5).
                let (mut head, _) = response.into_parts();
                head.extensions.clear();
                let response = Response::from_parts(head, ());
                let counted = metrics::ReplayOutcome::watch();
                self.rejection = Some(EarlierRejection { response, since, counted });
            }
        }
    }

    /// Records the freshness of the token that is about to be sent (C8).
    pub(super) fn set_freshness(&mut self, token: &IssuedToken) {
        if let Some(rejection) = &self.rejection {
            let is_fresh = !token.is_from_store() && token.fetch_began() > rejection.since;
            let freshness = if is_fresh { Freshness::Fresh } else { Freshness::MayBeOld };
            self.progress = self.progress.with_freshness(freshness);
        }
    }

    /// Returns the error for the caller when no token is available for the next send.
    pub(super) fn fail_without_token(&mut self, error: TokenError) -> BoxError {
        if let Some(rejection) = &mut self.rejection {
            rejection.counted.no_token();
        }
        self.fail(error)
    }

    /// Returns the error for the caller, with the response to the first send (R2).
    pub(super) fn fail(&mut self, error: TokenError) -> BoxError {
        match self.rejection.take() {
            Some(rejection) => error.with_rejected_response(rejection.response).into(),
            None => error.into(),
        }
    }
}
