//! Holds a request that is ready to be sent with a token.

use std::sync::Arc;

use http::Request;
use tower::Service;

use super::attempt::{Attempt, SendDetails};
use super::earlier_sends::EarlierSends;
use super::progress::ProofPresence;
use super::service_template::{ServiceTemplate, replace_with_unready};
use super::snapshot::Snapshot;
use super::state::{RequestState, State};
use crate::cache::{IssuedToken, Tokens};
use crate::metrics;
use crate::replay::ReplayableBody;

/// A request that only needs a token and a ready service.
pub(super) struct Outgoing<S, B> {
    pub(super) template: Arc<ServiceTemplate<S>>,
    pub(super) request: Request<B>,
    pub(super) earlier_sends: EarlierSends,
}

impl<S, B> Outgoing<S, B> {
    /// Returns the tokens that the request is sent with.
    pub(super) fn tokens(&self) -> &Tokens {
        let tokens = self.template.config.tokens_for(self.request.extensions());
        tokens.expect("admission found tokens for the request")
    }
}

impl<S, B> Outgoing<S, B>
where
    S: Service<Request<B>> + Clone,
    B: ReplayableBody,
{
    /// Sends the request with `token` through `service`, which must be ready.
    pub(super) fn send(self, service: &mut S, token: Arc<IssuedToken>) -> RequestState<S, B> {
        let Self { template, mut request, mut earlier_sends } = self;
        let config = &template.config;
        let presence = match token.prover() {
            Some(_) => ProofPresence::Present,
            None => ProofPresence::Absent,
        };
        if config.policy.is_never() && presence == ProofPresence::Absent {
            config.insert_token(request.headers_mut(), &token);
            return State::Forward { response: service.call(request) };
        }
        earlier_sends.set_freshness(&token);
        let snapshot = if earlier_sends.progress.allows_resend(presence) {
            Snapshot::new(&request)
        } else {
            Snapshot::without_body(&request)
        };
        config.insert_token(request.headers_mut(), &token);
        let proof = match token.prover().map(|prover| config.insert_proof(prover, &mut request)) {
            None => None,
            Some(Ok(proof)) => Some(proof),
            Some(Err(error)) => {
                replace_with_unready(service);
                let tokens = config.tokens_for(request.extensions());
                let label = tokens.and_then(|tokens| tokens.credentials().label_if_set());
                metrics::failed_request(&error, &tokens.and_then(Tokens::metric_label));
                return State::Failed { error: earlier_sends.fail(error.with_label(label)) };
            }
        };
        let response = service.call(request);
        let details = SendDetails { token, proof, earlier_sends };
        State::InFlight { response, attempt: Attempt::new(template, snapshot, details) }
    }
}
