//! The future of an [`OAuth2`](crate::OAuth2) service.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::{BoxError, Service};

use crate::cache::Grant;
use crate::challenge;
use crate::credentials::ClientCredentials;
use crate::error::TokenError;
use crate::origin::Origin;
use crate::replay::{BreakerKey, NotReplayed, ReplayableBody, Replayed};
use crate::shared::Shared;

type GrantFuture = Pin<Box<dyn Future<Output = Result<Grant, TokenError>> + Send>>;

pin_project! {
    /// The response of an [`OAuth2`](crate::OAuth2) service, after one replay if it takes one.
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<B>>,
        B: ReplayableBody,
    {
        #[pin]
        state: State<S::Future, Exchange<S, B::Kept>, Waiting<S, B>>,
    }
}

pin_project! {
    // What happens seldom is boxed: a future is moved until it is polled.
    #[project = StateProj]
    #[project_replace = StateOwned]
    enum State<F, X, W> {
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
            waiting: Box<W>,
        },
        // The request is with the inner service for the second time.
        Replaying {
            #[pin]
            future: F,
            replay: Box<Replay>,
        },
        // Nothing was sent.
        Failed {
            error: BoxError,
        },
        Done,
    }
}

/// A clone of the inner service that is never made ready, to be cloned again when a request has to be
/// sent again: few have to, and all can have one.
pub(crate) struct Spare<S> {
    shared: Arc<Shared>,
    /// Locked to clone only.
    service: Mutex<S>,
}

impl<S: Clone> Spare<S> {
    pub(crate) fn new(shared: Arc<Shared>, service: &S) -> Arc<Self> {
        Arc::new(Self { shared, service: Mutex::new(service.clone()) })
    }

    fn service(&self) -> S {
        self.service.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What it takes to send a request again.
pub(crate) struct Exchange<S, K> {
    pub(crate) spare: Arc<Spare<S>>,
    /// The request that went out, without its token.
    pub(crate) kept: Request<K>,
    /// Of the token that went with it.
    pub(crate) number: u64,
}

/// What it takes to send a request once there is a token.
pub(crate) struct Waiting<S, B> {
    service: S,
    spare: Arc<Spare<S>>,
    request: Request<B>,
    token: Token,
    /// The first token was.
    rejected: Option<Rejected>,
}

enum Token {
    Awaited(GrantFuture),
    Here(Grant),
}

/// What is to be learned from the response to a replay.
struct Replay {
    shared: Arc<Shared>,
    key: BreakerKey,
    number: u64,
    /// Whose token is to be dropped when it is rejected too: one out of a store, which is not fresh.
    stale: Option<Option<ClientCredentials>>,
}

/// What the API said to the first token, and whom to hold it against.
struct Rejected {
    head: Response<()>,
    key: BreakerKey,
}

/// Puts a clone that is not yet ready in the place of a service that is ready and will not be called,
/// so that whoever waits holds nothing.
pub(crate) fn release<S: Clone>(service: &mut S) {
    let spare = service.clone();
    drop(mem::replace(service, spare));
}

enum Next<R, W> {
    Return(R),
    Wait(Box<W>),
}

impl<S, K> Exchange<S, K> {
    #[inline]
    fn is_rejection<ResBody>(&self, response: &Response<ResBody>) -> bool {
        self.spare.shared.policy.is_rejection(response)
    }

    /// Decides what is to be done about a response that rejects the token.
    #[cold]
    fn take_rejection<B, ResBody>(
        self,
        mut response: Response<ResBody>,
    ) -> Next<Response<ResBody>, Waiting<S, B>>
    where
        S: Clone,
        B: ReplayableBody<Kept = K>,
    {
        let Self { spare, kept, number } = self;
        let Shared { tokens, breaker, .. } = &*spare.shared;
        let named = kept.extensions().get::<ClientCredentials>();
        let credentials = named.unwrap_or_else(|| tokens.credentials());
        let key = (credentials.fingerprint(), Origin::of(kept.uri()));
        if breaker.is_open(&key) {
            response.extensions_mut().insert(Replayed::No(NotReplayed::BreakerOpen));
            return Next::Return(response);
        }
        let claims = challenge::claims(response.headers()).map(Into::into);
        tokens.reject_number(named, number, claims);
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
        let rejected = Some(Rejected { head: Response::from_parts(head, ()), key });
        let request = Request::from_parts(parts, body);
        let service = spare.service();
        Next::Wait(Box::new(Waiting { service, spare, request, token, rejected }))
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
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
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
            Some(rejected) => error.with_rejected(rejected.head).into(),
            None => error.into(),
        }
    }

    /// Sends the request with its token.
    fn send(self) -> State<S::Future, Exchange<S, B::Kept>, Self> {
        let Self { mut service, spare, mut request, token, rejected } = self;
        let shared = &spare.shared;
        let Token::Here(Grant { header, number, is_from_store, .. }) = token else {
            unreachable!("sent when the token is here");
        };
        let may_be_replayed = rejected.is_none() && !shared.policy.is_never();
        let kept = may_be_replayed.then(|| B::keep_request(&request));
        shared.decorate(request.headers_mut(), &header);
        let stale = (is_from_store && rejected.is_some())
            .then(|| request.extensions().get::<ClientCredentials>().cloned());
        let future = service.call(request);
        match (kept, rejected) {
            (Some(kept), _) => {
                State::Calling { future, exchange: Exchange { spare, kept, number } }
            }
            (None, Some(Rejected { key, .. })) => {
                let shared = shared.clone();
                State::Replaying { future, replay: Box::new(Replay { shared, key, number, stale }) }
            }
            (None, None) => State::Passing { future },
        }
    }
}

impl Replay {
    /// The second response is returned, whatever it is.
    fn conclude<ResBody>(&self, mut response: Response<ResBody>) -> Response<ResBody> {
        let Shared { tokens, policy, breaker, .. } = &*self.shared;
        let is_rejection = policy.is_rejection(&response);
        tracing::debug!(status = response.status().as_u16(), is_rejection, "replayed");
        if is_rejection {
            breaker.trip(self.key.clone(), self.number);
            if let Some(named) = &self.stale {
                let claims = challenge::claims(response.headers()).map(Into::into);
                tokens.reject_number(named.as_ref(), self.number, claims);
                tokens.prefetch(named.as_ref());
            }
        } else {
            breaker.reset(&self.key);
        }
        response.extensions_mut().insert(Replayed::Yes);
        response
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
        service: S,
        spare: Arc<Spare<S>>,
        request: Request<B>,
        token: GrantFuture,
    ) -> Self {
        let token = Token::Awaited(token);
        let waiting = Box::new(Waiting { service, spare, request, token, rejected: None });
        Self { state: State::Waiting { waiting } }
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
        loop {
            let next = match state.as_mut().project() {
                StateProj::Passing { future } => return future.poll(cx).map_err(Into::into),
                StateProj::Calling { future, exchange } => {
                    let result = ready!(future.poll(cx)).map_err(Into::into);
                    let response = match result {
                        Ok(response) if exchange.is_rejection(&response) => response,
                        result => {
                            // What was kept is not held for as long as somebody holds the future.
                            state.set(State::Done);
                            return Poll::Ready(result);
                        }
                    };
                    // The future goes before anything is waited for.
                    let StateOwned::Calling { exchange, .. } =
                        state.as_mut().project_replace(State::Done)
                    else {
                        unreachable!("it is the state that was matched");
                    };
                    match exchange.take_rejection(response) {
                        Next::Return(response) => return Poll::Ready(Ok(response)),
                        Next::Wait(waiting) => State::Waiting { waiting },
                    }
                }
                StateProj::Waiting { waiting } => {
                    ready!(waiting.poll_ready(cx))?;
                    let StateOwned::Waiting { waiting } =
                        state.as_mut().project_replace(State::Done)
                    else {
                        unreachable!("it is the state that was matched");
                    };
                    waiting.send()
                }
                StateProj::Replaying { future, replay } => {
                    let response = ready!(future.poll(cx)).map_err(Into::into)?;
                    return Poll::Ready(Ok(replay.conclude(response)));
                }
                StateProj::Failed { .. } | StateProj::Done => {
                    let StateOwned::Failed { error } = state.as_mut().project_replace(State::Done)
                    else {
                        panic!("polled after it was ready");
                    };
                    return Poll::Ready(Err(error));
                }
            };
            state.set(next);
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
