//! The future of an [`OAuth2`](crate::OAuth2) service.

mod exchange;
mod history;
mod kept;
mod replay;
mod spare;
mod state;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::{BoxError, Service};

pub(crate) use self::exchange::Exchange;
use self::exchange::{GrantFuture, Next, Sending, Waiting, send};
pub(crate) use self::kept::Kept;
pub(crate) use self::spare::{Spare, release};
use self::state::{State, StateOwned, StateProj};
use crate::cache::IssuedToken;
use crate::replay::ReplayableBody;

pin_project! {
    /// The response of an [`OAuth2`](crate::OAuth2) service, after one replay if it takes one.
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<B>>,
        B: ReplayableBody,
    {
        #[pin]
        state: Sending<S, B>,
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

    pub(crate) fn proven(
        service: &mut S,
        spare: Arc<Spare<S>>,
        request: Request<B>,
        grant: Arc<IssuedToken>,
    ) -> Self
    where
        S: Clone,
    {
        Self { state: send(service, spare, request, grant, None, false) }
    }

    pub(crate) fn waiting(
        service: S,
        spare: Arc<Spare<S>>,
        request: Request<B>,
        token: GrantFuture,
    ) -> Self {
        let waiting = Box::new(Waiting::new(service, spare, request, token));
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
                        Ok(response) if exchange.concerns(&response) => response,
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
                    match exchange.take(response) {
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
