//! One send of a request, which may be followed by another one.

use std::sync::Arc;

use http::{Response, StatusCode};
use tracing::field::display;

use super::decision::{
    Action, BodyState, Outcome, RejectionReport, ResponseFacts, TokenVerdict, decide,
};
use super::history::History;
use super::outgoing::Outgoing;
use super::pending_send::PendingSend;
use super::progress::{Progress, TokenAttempt};
use super::service_template::ServiceTemplate;
use super::snapshot::Snapshot;
use super::target::target_of;
use crate::cache::{
    Claims, IssueId, IssuedToken, Rejection, RejectionOutcome, Requirements, SendNumber,
    Suspicions, Target, TokenCache,
};
use crate::credentials::Credentials;
use crate::metrics;
use crate::protocol::challenge;
use crate::protocol::dpop::{ProofVerdict, SentProof};
use crate::protocol::origin::Origin;
use crate::replay::{NotReplayed, ReplayableBody, Replayed};
use crate::util::printable::Printable;

/// One send of a request, which may be followed by another one.
pub(super) struct Attempt<S, K> {
    template: Arc<ServiceTemplate<S>>,
    /// The request without its token.
    snapshot: Snapshot<K>,
    /// The token that was sent.
    issue: IssueId,
    /// `None` for a first send without a proof, so that nothing is allocated for it.
    details: Option<Box<SendDetails>>,
}

/// Describes a send that is not the first one, or has a proof.
pub(super) struct SendDetails {
    pub(super) token: Arc<IssuedToken>,
    pub(super) proof: Option<SentProof>,
    pub(super) history: History,
}

/// Says what follows a response.
pub(super) enum Next<R, P> {
    Return(R),
    Send(Box<P>),
}

impl<S, K> Attempt<S, K> {
    /// Creates an attempt for a first send without a proof.
    #[inline]
    pub(super) fn first(
        template: Arc<ServiceTemplate<S>>,
        snapshot: Snapshot<K>,
        issue: IssueId,
    ) -> Self {
        Self { template, snapshot, issue, details: None }
    }

    pub(super) fn new(
        template: Arc<ServiceTemplate<S>>,
        snapshot: Snapshot<K>,
        details: SendDetails,
    ) -> Self {
        let issue = details.token.issue();
        let is_plain = details.proof.is_none() && details.history.progress == Progress::FIRST;
        let details = (!is_plain).then(|| Box::new(details));
        Self { template, snapshot, issue, details }
    }

    /// Returns the verdict of the layer's policy on the token.
    #[inline]
    pub(super) fn token_verdict<R>(&self, response: &Response<R>) -> TokenVerdict {
        if self.template.config.policy.is_rejection(response) {
            TokenVerdict::Rejected
        } else {
            TokenVerdict::Accepted
        }
    }

    /// Returns `false` if the response is returned unchanged and nothing is learned from it.
    #[inline]
    pub(super) fn needs_decision(&self, token: TokenVerdict) -> bool {
        self.details.is_some()
            || token == TokenVerdict::Rejected
            || self.template.config.tokens.has_suspicions()
    }

    /// Decides what follows the response, and does it.
    #[cold]
    pub(super) fn conclude<B, R>(
        mut self,
        mut response: Response<R>,
        token: TokenVerdict,
    ) -> Next<Response<R>, PendingSend<S, B>>
    where
        S: Clone,
        B: ReplayableBody<Kept = K>,
    {
        let mut facts = self.facts(&response, token);
        let mut report = RejectionReport::NotSent;
        let mut required = Requirements::default();
        // Ends, because a rejection is reported once and the body is asked for once.
        loop {
            match decide(facts, self.progress(), report) {
                Action::Reject => {
                    let outcome;
                    (outcome, required) = self.reject(&response);
                    report = RejectionReport::Answered(outcome);
                }
                Action::ResendWithNewToken { since } => {
                    let Some(body) = self.take_body() else {
                        facts.body = BodyState::Consumed;
                        continue;
                    };
                    let mut history = self.take_history();
                    history.requirements = required;
                    history.add_rejection(response, since);
                    return Next::Send(self.prepare(body, history, None));
                }
                Action::ResendWithNewProof => {
                    let Some(body) = self.take_body() else {
                        facts.body = BodyState::Consumed;
                        continue;
                    };
                    tracing::debug!("resent with a new DPoP proof");
                    let token = self.details.as_ref().map(|details| details.token.clone());
                    let mut history = self.take_history();
                    history.progress = history.progress.with_new_proof();
                    history.requirements.origin = Some(self.target().origin);
                    return Next::Send(self.prepare(body, history, token));
                }
                Action::ReportRefusal => {
                    self.mark(&mut response, facts, Outcome::Replayed);
                    let (credentials, target) = (self.credentials(), self.target());
                    let suspicions = self.tokens().report_refusal(credentials, self.issue, target);
                    self.log_suspicions(suspicions);
                    return Next::Return(response);
                }
                Action::Prefetch(outcome) => {
                    self.mark(&mut response, facts, outcome);
                    self.tokens().prefetch(self.credentials(), &required);
                    return Next::Return(response);
                }
                Action::Return(outcome) => {
                    self.mark(&mut response, facts, outcome);
                    let send = self.send_number();
                    let is_of_interest =
                        send != SendNumber::First || self.tokens().has_suspicions();
                    if is_of_interest && shows_acceptance(&response, facts) {
                        let (accepted, target) = ((self.issue, send), || self.target());
                        self.tokens().report_acceptance(self.credentials(), accepted, target);
                    }
                    return Next::Return(response);
                }
            }
        }
    }

    fn facts<R>(&self, response: &Response<R>, token: TokenVerdict) -> ResponseFacts {
        let proof = self.details.as_ref().and_then(|details| details.proof.as_ref());
        let proof = proof.map_or(ProofVerdict::Accepted, |proof| {
            proof.classify(response.status(), response.headers(), None)
        });
        let body = match self.snapshot.body {
            Some(_) => BodyState::Replayable,
            None => BodyState::Consumed,
        };
        ResponseFacts { token, proof, body }
    }

    /// Reports the rejection to the cache. Returns its answer, and what the next token needs.
    fn reject<R>(&self, response: &Response<R>) -> (RejectionOutcome, Requirements) {
        let claims = challenge::claims(response.headers()).map(Claims::single);
        let claims = claims.unwrap_or_default();
        let (issue, target, send) = (self.issue, self.target(), self.send_number());
        let rejection = Rejection { issue, target: Some(target), claims, send };
        let (outcome, suspicions) = self.tokens().reject_issue(self.credentials(), &rejection);
        self.log_suspicions(suspicions);
        let origin = Some(target.origin);
        (outcome, Requirements { newer_than: Some(issue), claims: rejection.claims, origin })
    }

    fn log_suspicions(&self, Suspicions { opened, is_contention_new }: Suspicions) {
        if opened.is_none() && !is_contention_new {
            return;
        }
        let origin = Origin::of(self.snapshot.head.uri());
        let origin = || origin.as_ref().map(|origin| display(Printable(origin)));
        if let Some(window) = opened {
            tracing::warn!(
                origin = origin(),
                ?window,
                "an API rejects fresh tokens; its rejections are ignored for a while"
            );
        }
        if is_contention_new {
            let credentials = self.credentials().unwrap_or(self.tokens().credentials());
            tracing::warn!(
                origin = origin(),
                endpoint = %Printable(credentials.token_endpoint_origin()),
                guide = "one_live_token",
                "processes revoke each other's tokens; share them in a store, renew only at expiry"
            );
        }
    }

    /// Returns the body once more, or `None` if it cannot be sent again.
    fn take_body<B>(&mut self) -> Option<B>
    where
        B: ReplayableBody<Kept = K>,
    {
        self.snapshot.body.take().and_then(B::replay)
    }

    fn take_history(&mut self) -> History {
        match self.details.take() {
            Some(details) => details.history,
            None => History::new(Requirements::default()),
        }
    }

    /// Prepares the next send, which waits for a token unless there is one already.
    fn prepare<B>(
        self,
        body: B,
        history: History,
        token: Option<Arc<IssuedToken>>,
    ) -> Box<PendingSend<S, B>>
    where
        S: Clone,
    {
        let service = self.template.instantiate();
        let request = self.snapshot.head.with_body(body);
        let outgoing = Outgoing { template: self.template, request, history };
        Box::new(PendingSend::new(service, outgoing, token))
    }

    /// Marks the response with what happened to its request, and counts it (R6).
    fn mark<R>(&mut self, response: &mut Response<R>, facts: ResponseFacts, outcome: Outcome) {
        match outcome {
            Outcome::Unmarked => {}
            Outcome::Replayed => {
                let is_rejection = !is_accepted(facts);
                tracing::debug!(status = response.status().as_u16(), is_rejection, "replayed");
                let history = self.details.as_mut().map(|details| &mut details.history);
                if let Some(rejection) = history.and_then(|history| history.rejection.as_mut()) {
                    match is_rejection {
                        true => rejection.counted.rejected(),
                        false => rejection.counted.accepted(),
                    }
                }
                response.extensions_mut().insert(Replayed::Yes);
            }
            Outcome::NotReplayed(reason) => {
                metrics::not_replayed(match reason {
                    NotReplayed::Body => "body",
                    NotReplayed::Proof => "proof",
                    NotReplayed::BreakerOpen => "breaker_open",
                    NotReplayed::ClaimsRefused => "claims_refused",
                });
                response.extensions_mut().insert(Replayed::No(reason));
            }
        }
    }

    fn send_number(&self) -> SendNumber {
        match self.progress().token {
            TokenAttempt::First => SendNumber::First,
            TokenAttempt::Second(_) => SendNumber::Second,
            TokenAttempt::Third(_) => SendNumber::Third,
        }
    }

    fn progress(&self) -> Progress {
        self.details.as_ref().map_or(Progress::FIRST, |details| details.history.progress)
    }

    fn tokens(&self) -> &TokenCache {
        &self.template.config.tokens
    }

    fn credentials(&self) -> Option<&Credentials> {
        self.snapshot.head.extensions().get()
    }

    fn target(&self) -> Target {
        target_of(&self.snapshot.head, self.template.service_id)
    }
}

fn is_accepted(facts: ResponseFacts) -> bool {
    facts.token == TokenVerdict::Accepted && facts.proof == ProofVerdict::Accepted
}

/// Says whether the response proves that the API accepted the token.
///
/// A server that is overloaded or broken may answer before it looks at the token. A 401 or 407 is no
/// acceptance even if the layer's policy does not count it as a rejection.
fn shows_acceptance<R>(response: &Response<R>, facts: ResponseFacts) -> bool {
    let status = response.status();
    let says_nothing = status.is_server_error()
        || matches!(
            status,
            StatusCode::UNAUTHORIZED
                | StatusCode::PROXY_AUTHENTICATION_REQUIRED
                | StatusCode::TOO_MANY_REQUESTS
        );
    is_accepted(facts) && !says_nothing
}
