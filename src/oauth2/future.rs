use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::{BoxError, Service};

use super::attempt::NextStep;
use super::state::{RequestState, State, StateOwned, StateProj};
use crate::replay::ReplayableBody;

pin_project! {
    /// Resolves to the response of an [`OAuth2`](crate::OAuth2) service.
    ///
    /// If the request was resent, it is the response to the last send.
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<B>>,
        B: ReplayableBody,
    {
        #[pin]
        state: RequestState<S, B>,
    }
}

impl<S, B> ResponseFuture<S, B>
where
    S: Service<Request<B>>,
    B: ReplayableBody,
{
    #[inline]
    pub(super) fn new(state: RequestState<S, B>) -> Self {
        Self { state }
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
                StateProj::Forward { response } => return response.poll(cx).map_err(Into::into),
                StateProj::WithoutToken { response, reason } => {
                    let mut response = ready!(response.poll(cx)).map_err(Into::into)?;
                    response.extensions_mut().insert(*reason);
                    return Poll::Ready(Ok(response));
                }
                StateProj::InFlight { response, attempt } => {
                    let result = ready!(response.poll(cx)).map_err(Into::into);
                    let (response, token) = match result {
                        Ok(response) => {
                            let token = attempt.token_verdict(&response);
                            if !attempt.needs_decision(token) {
                                // Frees the snapshot, since the caller may keep this future.
                                state.set(State::Done);
                                return Poll::Ready(Ok(response));
                            }
                            (response, token)
                        }
                        Err(error) => {
                            state.set(State::Done);
                            return Poll::Ready(Err(error));
                        }
                    };
                    // Drops the inner future before the request waits for anything (R5).
                    let StateOwned::InFlight { attempt, .. } =
                        state.as_mut().project_replace(State::Done)
                    else {
                        unreachable!("state was matched as InFlight above");
                    };
                    match attempt.conclude(response, token) {
                        NextStep::Return(response) => return Poll::Ready(Ok(response)),
                        NextStep::Send(pending) => State::Acquiring { pending },
                    }
                }
                StateProj::Acquiring { pending } => {
                    let result = ready!(pending.poll(cx));
                    let StateOwned::Acquiring { pending } =
                        state.as_mut().project_replace(State::Done)
                    else {
                        unreachable!("state was matched as Acquiring above");
                    };
                    match result {
                        Ok(token) => pending.send(token),
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
                StateProj::Failed { .. } | StateProj::Done => {
                    let StateOwned::Failed { error } = state.as_mut().project_replace(State::Done)
                    else {
                        panic!("`ResponseFuture` polled after completion");
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
