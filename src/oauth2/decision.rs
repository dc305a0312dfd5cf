//! Decides what to do with the response to a request that carried a token.
//!
//! [`decide`] is a pure function of the response and of the request's earlier sends. The caller
//! calls it once per response, and once more in two cases:
//!
//! - The action is [`Action::Reject`]. The caller reports the rejection to the cache and decides
//!   again with its answer. Only the cache knows whether a rejection is worth a token request, and
//!   it judges and rejects in one step under its lock. A copy of the breaker's state would be out
//!   of date.
//! - The action is a resend, and the body turns out to be consumed. The caller asks for the body
//!   only when it resends, because asking takes over an upload that is still running.

#[cfg(test)]
mod tests;

use super::progress::{Freshness, Progress, Retry, TokenAttempt};
use crate::cache::{RejectionOutcome, Sequence};
use crate::protocol::dpop::ProofVerdict;
use crate::replay::NotReplayed;

/// Describes a response, as far as the decision depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResponseFacts {
    pub(super) token: TokenVerdict,
    pub(super) proof: ProofVerdict,
    pub(super) body: BodyState,
}

/// Says whether the API accepted the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenVerdict {
    Accepted,
    Rejected,
}

/// Says whether the body of the request can be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyState {
    Replayable,
    Consumed,
}

/// Says whether the caller has reported the rejection to the cache, and holds the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RejectionReport {
    NotSent,
    Answered(RejectionOutcome),
}

/// Tells the caller what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Return the response.
    Return(Outcome),
    /// Report the rejection to the cache and decide again.
    Reject,
    /// Report to the breaker that a fresh token was rejected, and return the response. The token
    /// stays current.
    ReportRefusal,
    /// Return the response, and fetch another token for the next request.
    Prefetch(Outcome),
    /// Resend the request with a newer token. A token is fresh if its fetch began after `since`.
    ResendWithNewToken { since: Sequence },
    /// Resend the request with the same token and a new proof.
    ResendWithNewProof,
}

/// Says how the response is marked in its extensions (R6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The token of the request was not rejected.
    Unmarked,
    /// The request was resent with another token.
    Replayed,
    /// The request was rejected, and not resent with another token.
    NotReplayed(NotReplayed),
}

/// Returns the action for a response.
///
/// A verdict on the proof takes precedence over one on the token.
pub(super) fn decide(
    facts: ResponseFacts,
    progress: Progress,
    rejection: RejectionReport,
) -> Action {
    match (facts.proof, progress.proof_retry) {
        (ProofVerdict::Accepted, _) => match facts.token {
            TokenVerdict::Accepted => Action::Return(progress.outcome()),
            TokenVerdict::Rejected => decide_rejection(facts.body, progress, rejection),
        },
        (ProofVerdict::RetryWithNewProof, Retry::Available) => match facts.body {
            BodyState::Replayable => Action::ResendWithNewProof,
            BodyState::Consumed => Action::Return(progress.replayed_or(NotReplayed::Body)),
        },
        (ProofVerdict::RetryWithNewProof, Retry::Used) | (ProofVerdict::Rejected, _) => {
            Action::Return(progress.replayed_or(NotReplayed::Proof))
        }
    }
}

fn decide_rejection(body: BodyState, progress: Progress, rejection: RejectionReport) -> Action {
    match (progress.token, rejection) {
        // A fresh token was rejected, so yet another token would be no better.
        (TokenAttempt::Second(Freshness::Fresh) | TokenAttempt::Third(Freshness::Fresh), _) => {
            Action::ReportRefusal
        }
        (_, RejectionReport::NotSent) => Action::Reject,
        (_, RejectionReport::Answered(RejectionOutcome::BreakerOpen)) => {
            Action::Return(progress.replayed_or(NotReplayed::BreakerOpen))
        }
        (_, RejectionReport::Answered(RejectionOutcome::ClaimsRefused)) => {
            Action::Return(progress.replayed_or(NotReplayed::ClaimsRefused))
        }
        (_, RejectionReport::Answered(RejectionOutcome::FixedToken)) => {
            Action::Return(progress.replayed_or(NotReplayed::FixedToken))
        }
        // C8: the send with the third token is the last one.
        (
            TokenAttempt::Third(Freshness::MayBeOld),
            RejectionReport::Answered(RejectionOutcome::Replaced { .. }),
        ) => Action::Prefetch(Outcome::Replayed),
        (
            TokenAttempt::First | TokenAttempt::Second(Freshness::MayBeOld),
            RejectionReport::Answered(RejectionOutcome::Replaced { since }),
        ) => match body {
            BodyState::Replayable => Action::ResendWithNewToken { since },
            BodyState::Consumed => Action::Prefetch(progress.replayed_or(NotReplayed::Body)),
        },
    }
}

impl Progress {
    /// Returns the outcome of a request whose last token was not rejected.
    fn outcome(self) -> Outcome {
        match self.token {
            TokenAttempt::First => Outcome::Unmarked,
            TokenAttempt::Second(_) | TokenAttempt::Third(_) => Outcome::Replayed,
        }
    }

    /// Returns the outcome of a request that is not resent for `reason`.
    ///
    /// A request that was resent with another token before is marked as replayed.
    fn replayed_or(self, reason: NotReplayed) -> Outcome {
        match self.outcome() {
            Outcome::Unmarked => Outcome::NotReplayed(reason),
            outcome => outcome,
        }
    }
}
