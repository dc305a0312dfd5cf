//! Waits for a token, and then for the inner service.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Request;
use tower::{BoxError, Service};

use super::deadline::Deadline;
use super::outgoing::Outgoing;
use super::service_template::replace_with_unready;
use super::state::RequestState;
use crate::cache::IssuedToken;
use crate::error::TokenError;
use crate::metrics::TokenWait;
use crate::replay::ReplayableBody;

/// Waits for a token, and then for the inner service.
pub(super) struct PendingSend<S, B> {
    /// A service that is not ready: a clone, or one that was already called.
    service: S,
    outgoing: Outgoing<S, B>,
    token: PendingToken,
}

enum PendingToken {
    Acquiring {
        acquire: Pin<Box<dyn Future<Output = Result<Arc<IssuedToken>, TokenError>> + Send>>,
        wait: TokenWait,
    },
    Acquired(Arc<IssuedToken>),
}

impl<S, B> PendingSend<S, B> {
    /// Creates a send with `token`, or with a token that it waits for.
    pub(super) fn new(
        service: S,
        mut outgoing: Outgoing<S, B>,
        token: Option<Arc<IssuedToken>>,
    ) -> Self {
        let token = match token {
            Some(token) => PendingToken::Acquired(token),
            None => acquire(&mut outgoing),
        };
        Self { service, outgoing, token }
    }
}

impl<S, B> PendingSend<S, B>
where
    S: Service<Request<B>> + Clone,
    S::Error: Into<BoxError>,
    B: ReplayableBody,
{
    /// Waits until the service is ready, and returns the token to send.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Arc<IssuedToken>, BoxError>> {
        loop {
            let token = match &mut self.token {
                PendingToken::Acquired(token) => token,
                PendingToken::Acquiring { acquire, wait } => {
                    match wait.end(ready!(acquire.as_mut().poll(cx))) {
                        Ok(token) => {
                            self.token = PendingToken::Acquired(token);
                            continue;
                        }
                        Err(error) => {
                            let error = self.outgoing.earlier_sends.fail_without_token(error);
                            return Poll::Ready(Err(error));
                        }
                    }
                }
            };
            ready!(self.service.poll_ready(cx)).map_err(Into::into)?;
            // The service may have taken a while, and the token may be expired or rejected by now.
            let requirements = &self.outgoing.earlier_sends.requirements;
            let checked = self.outgoing.tokens().recheck(token, requirements);
            if let Some(token) = checked {
                return Poll::Ready(Ok(token));
            }
            replace_with_unready(&mut self.service);
            self.token = acquire(&mut self.outgoing);
        }
    }

    /// Sends the request with the token that [`poll`](Self::poll) returned.
    pub(super) fn send(self, token: Arc<IssuedToken>) -> RequestState<S, B> {
        let Self { mut service, outgoing, .. } = self;
        outgoing.send(&mut service, token)
    }
}

/// Starts to wait for a token. All waits of a request end by the same deadline, if it has one.
fn acquire<S, B>(outgoing: &mut Outgoing<S, B>) -> PendingToken {
    let required = outgoing.earlier_sends.requirements.clone();
    let token = outgoing.tokens().acquire(required);
    let wait = TokenWait::start(outgoing.tokens().metric_label());
    if outgoing.earlier_sends.deadline.is_none() {
        outgoing.earlier_sends.deadline = Deadline::of(&outgoing.request);
    }
    match outgoing.earlier_sends.deadline {
        Some(deadline) => {
            let credentials = outgoing.tokens().credentials().clone();
            PendingToken::Acquiring { acquire: Box::pin(deadline.wait(credentials, token)), wait }
        }
        None => PendingToken::Acquiring { acquire: Box::pin(token), wait },
    }
}
