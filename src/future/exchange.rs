//! A request on its way: out with a token, and back to wait for another one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Extensions, Request, Response};
use tower::{BoxError, Service};

use super::history::History;
use super::kept::Kept;
use super::replay::{Rejected, Replay};
use super::spare::{Spare, release};
use super::state::State;
use crate::cache::Grant;
use crate::challenge;
use crate::credentials::ClientCredentials;
use crate::dpop::ProofVerdict;
use crate::error::TokenError;
use crate::meter;
use crate::origin::Origin;
use crate::replay::{NotReplayed, ReplayableBody, Replayed};
use crate::shared::Shared;

pub(super) type GrantFuture = Pin<Box<dyn Future<Output = Result<Grant, TokenError>> + Send>>;

/// What it takes to send a request again.
pub(crate) struct Exchange<S, K> {
    spare: Arc<Spare<S>>,
    /// The request that went out, without its token.
    kept: Kept<K>,
    /// Of the token that went with it.
    number: u64,
    /// If there is one.
    history: Option<Box<History>>,
}

/// What it takes to send a request once there is a token.
pub(crate) struct Waiting<S, B> {
    service: S,
    spare: Arc<Spare<S>>,
    request: Request<B>,
    token: Token,
    /// The first token was.
    rejected: Option<Rejected>,
    /// It goes out with another proof, the first one having been refused.
    is_corrected: bool,
}

enum Token {
    Awaited(GrantFuture),
    Here(Grant),
}

/// Where a request is, of these types.
pub(super) type Sending<S, B> = State<
    <S as Service<Request<B>>>::Future,
    Exchange<S, <B as ReplayableBody>::Kept>,
    Waiting<S, B>,
>;

pub(super) enum Next<R, W> {
    Return(R),
    Wait(Box<W>),
}

impl<S, K> Exchange<S, K> {
    /// Of a request that is out for the first time, and without a proof.
    #[inline]
    pub(crate) fn new(spare: Arc<Spare<S>>, kept: Kept<K>, number: u64) -> Self {
        Self { spare, kept, number, history: None }
    }

    /// Whether there is something to be done about a response, or to be learned from it.
    #[inline]
    pub(super) fn concerns<ResBody>(&self, response: &Response<ResBody>) -> bool {
        self.history.is_some() || self.spare.shared.policy.is_rejection(response)
    }

    #[cold]
    pub(super) fn take<B, ResBody>(
        mut self,
        response: Response<ResBody>,
    ) -> Next<Response<ResBody>, Waiting<S, B>>
    where
        S: Clone,
        B: ReplayableBody<Kept = K>,
    {
        match self.history.take() {
            Some(history) => self.take_after(*history, response),
            None => self.take_rejection(None, false, response),
        }
    }

    /// Decides what is to be done about the response to a request that went out with a proof, or again.
    fn take_after<B, ResBody>(
        self,
        history: History,
        mut response: Response<ResBody>,
    ) -> Next<Response<ResBody>, Waiting<S, B>>
    where
        S: Clone,
        B: ReplayableBody<Kept = K>,
    {
        let History { sent, grant, rejected, is_corrected } = history;
        let shared = &self.spare.shared;
        let opinion = sent.map_or(ProofVerdict::Accepted, |sent| {
            sent.classify(response.status(), response.headers(), None)
        });
        let why_not = match opinion {
            ProofVerdict::RetryWithNewProof if !is_corrected => {
                let Kept { head, body } = self.kept;
                if let Some(body) = B::replay(body) {
                    tracing::debug!("sent again with another proof of possession");
                    return Next::Wait(Box::new(Waiting {
                        service: self.spare.service(),
                        spare: self.spare,
                        request: head.with_body(body),
                        token: Token::Here(grant),
                        rejected,
                        is_corrected: true,
                    }));
                }
                NotReplayed::Body
            }
            ProofVerdict::RetryWithNewProof | ProofVerdict::Rejected => NotReplayed::Nonce,
            ProofVerdict::Accepted => {
                let is_rejection = shared.policy.is_rejection(&response);
                return match rejected {
                    None if !is_rejection => Next::Return(response),
                    None => self.take_rejection(None, is_corrected, response),
                    // One out of a store may be as old as the first: it is the next that is fresh.
                    Some(first) if is_rejection && grant.is_from_store && !first.is_again => {
                        self.take_rejection(Some(first), is_corrected, response)
                    }
                    Some(Rejected { key, counted, .. }) => {
                        let stale = stale(&grant, self.kept.head.extensions());
                        let shared = shared.clone();
                        let number = self.number;
                        let mut replay = Replay { shared, key, number, stale, counted };
                        Next::Return(replay.conclude(response))
                    }
                };
            }
        };
        response.extensions_mut().insert(give_back(rejected, why_not));
        Next::Return(response)
    }

    /// Decides what is to be done about a response that rejects the token, which may be the second one.
    fn take_rejection<B, ResBody>(
        self,
        first: Option<Rejected>,
        is_corrected: bool,
        mut response: Response<ResBody>,
    ) -> Next<Response<ResBody>, Waiting<S, B>>
    where
        S: Clone,
        B: ReplayableBody<Kept = K>,
    {
        let Self { spare, kept, number, .. } = self;
        let Shared { tokens, breaker, .. } = &*spare.shared;
        let Kept { head, body } = kept;
        let named = head.extensions().get::<ClientCredentials>();
        let credentials = named.unwrap_or_else(|| tokens.credentials());
        let key = (credentials.fingerprint(), Origin::of(head.uri()));
        if first.is_none() && breaker.is_open(&key) {
            response.extensions_mut().insert(give_back(None, NotReplayed::BreakerOpen));
            return Next::Return(response);
        }
        let claims = challenge::claims(response.headers()).map(Into::into);
        tokens.reject_number(named, number, claims);
        let Some(body) = B::replay(body) else {
            tokens.prefetch(named);
            response.extensions_mut().insert(give_back(first, NotReplayed::Body));
            return Next::Return(response);
        };
        let token = Token::Awaited(Box::pin(tokens.grant(named)));
        let rejected = Some(match first {
            Some(first) => Rejected { is_again: true, ..first },
            None => {
                // Whoever waits holds nothing: extensions may hold a connection.
                let (mut head, _) = response.into_parts();
                head.extensions.clear();
                let head = Response::from_parts(head, ());
                Rejected { head, key, is_again: false, counted: meter::Replaying::begin() }
            }
        });
        let request = head.with_body(body);
        let service = spare.service();
        Next::Wait(Box::new(Waiting { service, spare, request, token, rejected, is_corrected }))
    }
}

impl<S, B> Waiting<S, B> {
    /// For a first token.
    pub(super) fn new(
        service: S,
        spare: Arc<Spare<S>>,
        request: Request<B>,
        token: GrantFuture,
    ) -> Self {
        let token = Token::Awaited(token);
        Self { service, spare, request, token, rejected: None, is_corrected: false }
    }
}

impl<S, B> Waiting<S, B>
where
    S: Service<Request<B>> + Clone,
    S::Error: Into<BoxError>,
    B: ReplayableBody,
{
    /// Waits for the token, and then for the service: never call an unready one, and this one is
    /// a clone, or has been called.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        loop {
            if let Token::Awaited(token) = &mut self.token {
                match ready!(token.as_mut().poll(cx)) {
                    Ok(grant) => self.token = Token::Here(grant),
                    Err(error) => return Poll::Ready(Err(self.give_up(error))),
                }
            }
            ready!(self.service.poll_ready(cx)).map_err(Into::into)?;
            if self.freshen() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Looks at the token again once the service is ready, which may have taken a while. When it was
    /// rejected meanwhile, the wait begins anew.
    fn freshen(&mut self) -> bool {
        let Token::Here(grant) = &mut self.token else {
            return false;
        };
        let tokens = &self.spare.shared.tokens;
        let named = self.request.extensions().get::<ClientCredentials>();
        if let Some(fresh) = tokens.freshen(named, grant) {
            *grant = fresh;
            return true;
        }
        release(&mut self.service);
        self.token = Token::Awaited(Box::pin(tokens.grant(named)));
        false
    }

    /// No token: the error, with what the API said of the last one.
    fn give_up(&mut self, error: TokenError) -> BoxError {
        match self.rejected.take() {
            Some(mut rejected) => {
                rejected.counted.end_without_token();
                error.with_rejected(rejected.head).into()
            }
            None => error.into(),
        }
    }

    /// Sends the request with its token.
    pub(super) fn send(self) -> State<S::Future, Exchange<S, B::Kept>, Self> {
        let Self { mut service, spare, request, token, rejected, is_corrected } = self;
        let Token::Here(grant) = token else {
            unreachable!("sent when the token is here");
        };
        send(&mut service, spare, request, grant, rejected, is_corrected)
    }
}

/// Sends a request by a service that is ready.
pub(super) fn send<S, B>(
    service: &mut S,
    spare: Arc<Spare<S>>,
    mut request: Request<B>,
    grant: Grant,
    rejected: Option<Rejected>,
    is_corrected: bool,
) -> Sending<S, B>
where
    S: Service<Request<B>> + Clone,
    B: ReplayableBody,
{
    let shared = &spare.shared;
    let may_be_sent_again = grant.prover.is_some()
        || match &rejected {
            None => !shared.policy.is_never(),
            Some(rejected) => grant.is_from_store && !rejected.is_again,
        };
    let kept = may_be_sent_again.then(|| Kept::of(&request));
    shared.decorate(request.headers_mut(), &grant.header);
    let number = grant.number;
    let Some(kept) = kept else {
        let stale = stale(&grant, request.extensions());
        let future = service.call(request);
        return match rejected {
            Some(Rejected { key, counted, .. }) => {
                let replay = Replay { shared: shared.clone(), key, number, stale, counted };
                State::Replaying { future, replay: Box::new(replay) }
            }
            None => State::Passing { future },
        };
    };
    let proof = grant.prover.as_ref().map(|prover| shared.prove(prover, &mut request));
    let sent = match proof.transpose() {
        Ok(sent) => sent,
        Err(error) => {
            release(service);
            return State::Failed { error: error.into() };
        }
    };
    let history = (sent.is_some() || rejected.is_some())
        .then(|| Box::new(History { sent, grant, rejected, is_corrected }));
    let future = service.call(request);
    State::Calling { future, exchange: Exchange { spare, kept, number, history } }
}

/// What is said of a request that is not sent again: `first` was, once.
fn give_back(first: Option<Rejected>, why_not: NotReplayed) -> Replayed {
    match first {
        Some(mut first) => {
            first.counted.end(true);
            Replayed::Yes
        }
        None => {
            meter::not_replayed(match why_not {
                NotReplayed::Body => "body",
                NotReplayed::Nonce => "nonce",
                NotReplayed::BreakerOpen => "breaker_open",
            });
            Replayed::No(why_not)
        }
    }
}

/// Whose token is to be dropped if it is rejected although it is another one.
fn stale(grant: &Grant, extensions: &Extensions) -> Option<Option<ClientCredentials>> {
    grant.is_from_store.then(|| extensions.get().cloned())
}
