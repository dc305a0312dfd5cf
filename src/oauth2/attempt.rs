//! Sends a request once, and decides whether another send follows.

use std::sync::Arc;

use http::{Response, StatusCode};
use tracing::field::display;

use super::decision::{
    Action, BodyState, Outcome, RejectionReport, ResponseFacts, TokenVerdict, decide,
};
use super::earlier_sends::EarlierSends;
use super::outgoing::Outgoing;
use super::pending_send::PendingSend;
use super::progress::{Progress, TokenAttempt};
use super::service_template::ServiceTemplate;
use super::snapshot::Snapshot;
use super::target::hash_target;
use crate::cache::{
    Claims, IssueId, IssuedToken, Rejection, RejectionOutcome, Requirements, SendNumber,
    Suspicions, Target, Tokens,
};
use crate::metrics;
use crate::protocol::challenge;
use crate::protocol::dpop::{ProofVerdict, SentProof};
use crate::protocol::origin::Origin;
use crate::replay::{NotReplayed, ReplayableBody, Replayed};
use crate::util::printable::Printable;

/// Sends a request once, and decides whether another send follows.
pub(super) struct Attempt<S, K> {
    template: Arc<ServiceTemplate<S>>,
    /// The request without its token.
    snapshot: Snapshot<K>,
    /// The token that was sent.
    issue: IssueId,
    /// `None` for a first send without a proof or a deadline.
    ///
    /// So nothing is allocated for it.
    details: Option<Box<SendDetails>>,
}

/// Describes a send that is not the first, or has a proof or deadline.
pub(super) struct SendDetails {
    pub(super) token: Arc<IssuedToken>,
    pub(super) proof: Option<SentProof>,
    pub(super) earlier_sends: EarlierSends,
}

/// The step that follows a response.
pub(super) enum NextStep<R, P> {
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
        let earlier_sends = &details.earlier_sends;
        let is_plain = details.proof.is_none()
            && earlier_sends.progress == Progress::FIRST
            && earlier_sends.deadline.is_none();
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
        self.details.is_some() || token == TokenVerdict::Rejected || self.tokens().has_suspicions()
    }

    /// Decides on the step after the response, and performs it.
    #[cold]
    pub(super) fn conclude<B, R>(
        mut self,
        mut response: Response<R>,
        token: TokenVerdict,
    ) -> NextStep<Response<R>, PendingSend<S, B>>
    where
        S: Clone,
        B: ReplayableBody<Kept = K>,
    {
        let mut facts = self.facts(&response, token);
        let mut report = RejectionReport::NotSent;
        let mut required = Requirements::default();
        // The loop ends, because a rejection is reported once and the body is taken once.
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
                    let mut earlier_sends = self.take_earlier_sends();
                    earlier_sends.requirements = required;
                    earlier_sends.add_rejection(response, since);
                    return NextStep::Send(self.prepare(body, earlier_sends, None));
                }
                Action::ResendWithNewProof => {
                    let Some(body) = self.take_body() else {
                        facts.body = BodyState::Consumed;
                        continue;
                    };
                    tracing::debug!("resent with a new DPoP proof");
                    let token = self.details.as_ref().map(|details| details.token.clone());
                    let mut earlier_sends = self.take_earlier_sends();
                    earlier_sends.progress = earlier_sends.progress.with_new_proof();
                    earlier_sends.requirements.origin = Some(self.target().origin);
                    return NextStep::Send(self.prepare(body, earlier_sends, token));
                }
                Action::ReportRefusal => {
                    self.mark(&mut response, facts, Outcome::Replayed);
                    let suspicions = self.tokens().report_refusal(self.issue, self.target());
                    self.log_suspicions(suspicions);
                    return NextStep::Return(response);
                }
                Action::Prefetch(outcome) => {
                    self.mark(&mut response, facts, outcome);
                    self.tokens().prefetch(&required);
                    return NextStep::Return(response);
                }
                Action::Return(outcome) => {
                    self.mark(&mut response, facts, outcome);
                    let send = self.send_number();
                    let is_of_interest =
                        send != SendNumber::First || self.tokens().has_suspicions();
                    if is_of_interest && shows_acceptance(&response, facts) {
                        self.tokens().report_acceptance((self.issue, send), || self.target());
                    }
                    return NextStep::Return(response);
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

    /// Reports the rejection to the cache. Returns its answer, and the requirements of the next
    /// token.
    fn reject<R>(&self, response: &Response<R>) -> (RejectionOutcome, Requirements) {
        let claims = challenge::claims(response.status(), response.headers()).map(Claims::single);
        let claims = claims.unwrap_or_default();
        let (issue, target, send) = (self.issue, self.target(), self.send_number());
        let rejection = Rejection { issue, target: Some(target), claims, send };
        let (outcome, suspicions) = self.tokens().reject(&rejection);
        self.log_suspicions(suspicions);
        let origin = Some(target.origin);
        (outcome, Requirements { newer_than: Some(issue), claims: rejection.claims, origin })
    }

    fn log_suspicions(&self, Suspicions { opened, is_contention_new }: Suspicions) {
        if opened.is_none() && !is_contention_new {
            return;
        }
        let credentials = self.tokens().credentials();
        let label = credentials.label_field();
        let origin = Origin::from_uri(self.snapshot.head.uri());
        let origin = || origin.as_ref().map(|origin| display(Printable(origin)));
        if let Some(window) = opened {
            tracing::warn!(
                label,
                origin = origin(),
                ?window,
                "an API rejects fresh tokens; its rejections are ignored for a while"
            );
        }
        if is_contention_new {
            tracing::warn!(
                label,
                origin = origin(),
                endpoint = %Printable(credentials.server()),
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

    fn take_earlier_sends(&mut self) -> EarlierSends {
        match self.details.take() {
            Some(details) => details.earlier_sends,
            None => EarlierSends::new(Requirements::default()),
        }
    }

    /// Prepares the next send, which waits for a token unless there is one already.
    fn prepare<B>(
        self,
        body: B,
        earlier_sends: EarlierSends,
        token: Option<Arc<IssuedToken>>,
    ) -> Box<PendingSend<S, B>>
    where
        S: Clone,
    {
        let service = self.template.instantiate();
        let request = self.snapshot.head.with_body(body);
        let outgoing = Outgoing { template: self.template, request, earlier_sends };
        Box::new(PendingSend::new(service, outgoing, token))
    }

    /// Marks the response with the outcome of its request, and counts it (R6).
    fn mark<R>(&mut self, response: &mut Response<R>, facts: ResponseFacts, outcome: Outcome) {
        match outcome {
            Outcome::Unmarked => {}
            Outcome::Replayed => {
                let is_rejection = !is_accepted(facts);
                tracing::debug!(status = response.status().as_u16(), is_rejection, "replayed");
                let earlier_sends = self.details.as_mut().map(|details| &mut details.earlier_sends);
                if let Some(rejection) =
                    earlier_sends.and_then(|earlier_sends| earlier_sends.rejection.as_mut())
                {
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
                    NotReplayed::FixedToken => "fixed_token",
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
        self.details.as_ref().map_or(Progress::FIRST, |details| details.earlier_sends.progress)
    }

    #[inline]
    fn tokens(&self) -> &Tokens {
        let tokens = self.template.config.tokens_for(self.snapshot.head.extensions());
        tokens.expect("admission found tokens for the request")
    }

    fn target(&self) -> Target {
        hash_target(&self.snapshot.head, self.template.service_id)
    }
}

fn is_accepted(facts: ResponseFacts) -> bool {
    facts.token == TokenVerdict::Accepted && facts.proof == ProofVerdict::Accepted
}

/// Says whether the response proves that the API accepted the token.
///
/// A server that is overloaded or broken may answer before it looks at the token. A 401 or 407 is
/// no acceptance even if the layer's policy does not count it as a rejection.
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
