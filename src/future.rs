//! The future of an [`OAuth2`](crate::OAuth2) service.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::{BoxError, Service};

use crate::cache::Grant;
use crate::challenge;
use crate::credentials::ClientCredentials;
use crate::error::TokenError;
use crate::layer::Shared;
use crate::origin::Origin;
use crate::replay::{NotReplayed, ReplayableBody, Replayed};

type GrantFuture = Pin<Box<dyn Future<Output = Result<Grant, TokenError>> + Send>>;

pin_project! {
    /// The response of an [`OAuth2`](crate::OAuth2) service, after one replay if it takes one.
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<B>>,
        B: ReplayableBody,
    {
        #[pin]
        state: State<S::Future, B, Exchange<S, B::Kept>>,
    }
}

pin_project! {
    #[project = StateProj]
    #[project_replace = StateOwned]
    enum State<F, B, X> {
        // The request is with the inner service, and what comes is passed on.
        Passing {
            #[pin]
            future: F,
        },
        // The request is with the inner service, and may be sent again.
        Calling {
            #[pin]
            future: F,
            exchange: X,
        },
        // The request is here, and waits for a token and then for the inner service.
        Waiting {
            pending: Box<Pending<B>>,
            exchange: X,
        },
        // Nothing was sent.
        Failed {
            error: BoxError,
        },
        Done,
    }
}

struct Pending<B> {
    request: Request<B>,
    token: Token,
}

enum Token {
    Awaited(GrantFuture),
    Here(Grant),
}

/// What it takes to send a request, and to send it again.
pub(crate) struct Exchange<S, K> {
    service: S,
    shared: Arc<Shared>,
    /// Of the request that went out.
    kept: Option<Request<K>>,
    number: u64,
    /// Once the first token was rejected: what the API said, and whom to hold it against.
    rejected: Option<Box<Rejected>>,
}

struct Rejected {
    head: Response<()>,
    key: (ClientCredentials, Option<Origin>),
}

impl<S, K> Exchange<S, K> {
    #[inline]
    pub(crate) fn new(
        service: S,
        shared: Arc<Shared>,
        kept: Option<Request<K>>,
        number: u64,
    ) -> Self {
        Self { service, shared, kept, number, rejected: None }
    }
}

/// Puts a clone that is not yet ready in the place of a service that is ready and will not be called,
/// so that whoever waits holds nothing.
pub(crate) fn release<S: Clone>(service: &mut S) {
    let spare = service.clone();
    drop(mem::replace(service, spare));
}

/// All of a request, with what its body keeps back.
#[inline]
pub(crate) fn keep<B: ReplayableBody>(request: &Request<B>) -> Request<B::Kept> {
    let mut kept = Request::new(request.body().keep());
    *kept.method_mut() = request.method().clone();
    *kept.uri_mut() = request.uri().clone();
    *kept.version_mut() = request.version();
    *kept.headers_mut() = request.headers().clone();
    *kept.extensions_mut() = request.extensions().clone();
    kept
}

enum Next<R, B> {
    Return(R),
    Again(Box<Pending<B>>),
}

impl<S, K> Exchange<S, K> {
    /// Looks at the token again once the service is ready, which may have taken a while. When it was
    /// rejected meanwhile, the wait begins anew.
    fn freshen<B>(&mut self, pending: &mut Pending<B>) -> bool
    where
        S: Clone,
    {
        let Token::Here(grant) = &mut pending.token else {
            return false;
        };
        let tokens = &self.shared.tokens;
        let named = pending.request.extensions().get::<ClientCredentials>();
        if let Some(fresh) = tokens.freshen(named, grant) {
            *grant = fresh;
            return true;
        }
        release(&mut self.service);
        pending.token = Token::Awaited(Box::pin(tokens.grant(named)));
        false
    }

    /// Sends the request with its token.
    fn send<B>(&mut self, pending: Pending<B>) -> S::Future
    where
        S: Service<Request<B>>,
        B: ReplayableBody<Kept = K>,
    {
        let Pending { mut request, token } = pending;
        let Token::Here(grant) = token else {
            unreachable!("sent when the token is here");
        };
        self.number = grant.number;
        if self.rejected.is_none() && !self.shared.policy.is_never() {
            self.kept = Some(keep(&request));
        }
        self.shared.decorate(request.headers_mut(), grant.header);
        self.service.call(request)
    }

    /// Decides what is to be done about a response.
    fn take_in<B, ResBody>(&mut self, mut response: Response<ResBody>) -> Next<Response<ResBody>, B>
    where
        B: ReplayableBody<Kept = K>,
    {
        let Shared { tokens, policy, breaker, .. } = &*self.shared;
        let is_rejection = policy.is_rejection(&response);
        if let Some(rejected) = self.rejected.take() {
            // This is the second response: it is returned, whatever it is.
            tracing::debug!(status = response.status().as_u16(), is_rejection, "replayed");
            if is_rejection {
                breaker.trip(rejected.key, self.number);
            } else {
                breaker.reset(&rejected.key);
            }
            response.extensions_mut().insert(Replayed::Yes);
            return Next::Return(response);
        }
        let Some(kept) = self.kept.take().filter(|_| is_rejection) else {
            return Next::Return(response);
        };
        let named = kept.extensions().get::<ClientCredentials>();
        let credentials = named.unwrap_or_else(|| tokens.credentials()).clone();
        let key = (credentials, Origin::of(kept.uri()));
        if breaker.is_open(&key) {
            response.extensions_mut().insert(Replayed::No(NotReplayed::BreakerOpen));
            return Next::Return(response);
        }
        let claims = challenge::claims(response.headers()).map(Into::into);
        tokens.reject_number(named, self.number, claims);
        let (parts, kept_body) = kept.into_parts();
        let named = parts.extensions.get::<ClientCredentials>();
        let Some(body) = B::replay(kept_body) else {
            tokens.prefetch(named);
            response.extensions_mut().insert(Replayed::No(NotReplayed::Body));
            return Next::Return(response);
        };
        let token = Token::Awaited(Box::pin(tokens.grant(named)));
        // Whoever waits holds nothing: extensions may hold a connection.
        let (mut head, _) = response.into_parts();
        head.extensions.clear();
        self.rejected = Some(Box::new(Rejected { head: Response::from_parts(head, ()), key }));
        let request = Request::from_parts(parts, body);
        Next::Again(Box::new(Pending { request, token }))
    }

    /// No token: the error, with what the API said of the last one.
    fn give_up(&mut self, error: TokenError) -> BoxError {
        match self.rejected.take() {
            Some(rejected) => error.with_rejected(rejected.head).into(),
            None => error.into(),
        }
    }
}

impl<S, B> ResponseFuture<S, B>
where
    S: Service<Request<B>>,
    B: ReplayableBody,
{
    #[inline]
    pub(crate) fn passing(future: S::Future) -> Self {
        Self { state: State::Passing { future } }
    }

    #[inline]
    pub(crate) fn calling(future: S::Future, exchange: Exchange<S, B::Kept>) -> Self {
        Self { state: State::Calling { future, exchange } }
    }

    pub(crate) fn waiting(
        request: Request<B>,
        token: GrantFuture,
        exchange: Exchange<S, B::Kept>,
    ) -> Self {
        let token = Token::Awaited(token);
        let pending = Box::new(Pending { request, token });
        Self { state: State::Waiting { pending, exchange } }
    }

    pub(crate) fn failed(error: BoxError) -> Self {
        Self { state: State::Failed { error } }
    }
}

impl<S, B, ResBody> Future for ResponseFuture<S, B>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone,
    S::Error: Into<BoxError>,
    B: ReplayableBody,
{
    type Output = Result<Response<ResBody>, BoxError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        if let StateProj::Passing { future } = state.as_mut().project() {
            return future.poll(cx).map_err(Into::into);
        }
        poll_exchange(state, cx)
    }
}

type StateOf<S, B> =
    State<<S as Service<Request<B>>>::Future, B, Exchange<S, <B as ReplayableBody>::Kept>>;

fn poll_exchange<S, B, ResBody>(
    mut state: Pin<&mut StateOf<S, B>>,
    cx: &mut Context<'_>,
) -> Poll<Result<Response<ResBody>, BoxError>>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone,
    S::Error: Into<BoxError>,
    B: ReplayableBody,
{
    loop {
        match state.as_mut().project() {
            StateProj::Calling { future, exchange } => {
                let response = ready!(future.poll(cx)).map_err(Into::into)?;
                let pending = match exchange.take_in(response) {
                    Next::Return(response) => return Poll::Ready(Ok(response)),
                    Next::Again(pending) => pending,
                };
                // The response is gone already; its future goes here.
                let StateOwned::Calling { exchange, .. } =
                    state.as_mut().project_replace(State::Done)
                else {
                    unreachable!("it is the state that was matched");
                };
                state.set(State::Waiting { pending, exchange });
            }
            StateProj::Waiting { pending, exchange } => {
                if let Token::Awaited(token) = &mut pending.token {
                    match ready!(token.as_mut().poll(cx)) {
                        Ok(grant) => pending.token = Token::Here(grant),
                        Err(error) => return Poll::Ready(Err(exchange.give_up(error))),
                    }
                }
                // Never call an unready service: this one is a clone, or has been called.
                ready!(exchange.service.poll_ready(cx)).map_err(Into::into)?;
                if !exchange.freshen(pending) {
                    continue;
                }
                let StateOwned::Waiting { pending, mut exchange } =
                    state.as_mut().project_replace(State::Done)
                else {
                    unreachable!("it is the state that was matched");
                };
                let future = exchange.send(*pending);
                state.set(State::Calling { future, exchange });
            }
            StateProj::Passing { future } => return future.poll(cx).map_err(Into::into),
            StateProj::Failed { .. } | StateProj::Done => {
                let StateOwned::Failed { error } = state.as_mut().project_replace(State::Done)
                else {
                    panic!("polled after it was ready");
                };
                return Poll::Ready(Err(error));
            }
        }
    }
}

impl<S, B> fmt::Debug for ResponseFuture<S, B>
where
    S: Service<Request<B>>,
    B: ReplayableBody,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
