//! Defines the states of a [`ResponseFuture`](super::ResponseFuture).

use http::Request;
use pin_project_lite::pin_project;
use tower::{BoxError, Service};

use super::attempt::Attempt;
use super::no_token_sent::NoTokenSent;
use super::pending_send::PendingSend;
use crate::replay::ReplayableBody;

/// The state of a request with a body `B` over a service `S`.
pub(super) type RequestState<S, B> = State<
    <S as Service<Request<B>>>::Future,
    Attempt<S, <B as ReplayableBody>::Kept>,
    PendingSend<S, B>,
>;

pin_project! {
    // A future is moved until it is first polled, so rare states are boxed.
    #[project = StateProj]
    #[project_replace = StateOwned]
    pub(super) enum State<F, A, P> {
        // The inner service has the request. Its response is returned unchanged.
        Forward {
            #[pin]
            response: F,
        },
        // The inner service has the request, which has no token although it did not ask for that.
        WithoutToken {
            #[pin]
            response: F,
            reason: NoTokenSent,
        },
        // The inner service has the request, which may be sent again.
        InFlight {
            #[pin]
            response: F,
            attempt: A,
        },
        // The request waits for a token, and then for the inner service.
        Acquiring {
            pending: Box<P>,
        },
        // The request was not sent.
        Failed {
            error: BoxError,
        },
        Done,
    }
}
