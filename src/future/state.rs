//! Where a request is.

use pin_project_lite::pin_project;
use tower::BoxError;

use super::replay::Replay;

pin_project! {
    // What happens seldom is boxed: a future is moved until it is polled.
    #[project = StateProj]
    #[project_replace = StateOwned]
    pub(super) enum State<F, X, W> {
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
