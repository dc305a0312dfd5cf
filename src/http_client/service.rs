use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower::{BoxError, Service};

use super::body::RequestBody;
use super::conversion::{into_http_response, into_reqwest};

/// Sends [`http::Request`]s with bodies of any type over a [`reqwest::Client`].
///
/// It is a service for custom stacks of layers. [`AuthorizedClient`](super::AuthorizedClient) is
/// simpler, and also replays bodies in memory that are larger than the limit of a
/// [`ReplayableLayer`](crate::replay::ReplayableLayer). Switch off redirects in the client, because
/// layers cannot see them.
///
/// To get a [`reqwest::Response`], convert the response with `from`, which keeps its URL.
///
/// # Errors
///
/// Returns the [`reqwest::Error`] of a request that cannot be sent, or that gets no response.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower::ServiceBuilder;
/// use tower::timeout::Timeout;
/// use tower_oauth2::http_client::ReqwestService;
/// use tower_oauth2::replay::{Replayable, ReplayableLayer};
/// use tower_oauth2::{OAuth2, OAuth2Layer};
///
/// fn stack(
///     http: reqwest::Client,
///     oauth2: OAuth2Layer,
/// ) -> Timeout<Replayable<OAuth2<ReqwestService>>> {
///     ServiceBuilder::new()
///         .timeout(Duration::from_secs(30))
///         .layer(ReplayableLayer::new().limit(1024 * 1024))
///         .layer(oauth2)
///         .service(ReqwestService::new(http))
/// }
/// # let _ = stack;
/// ```
///
/// [`http::Request`]: https://docs.rs/http/latest/http/request/struct.Request.html
/// [`reqwest::Error`]: https://docs.rs/reqwest/latest/reqwest/struct.Error.html
/// [`reqwest::Client`]: https://docs.rs/reqwest/latest/reqwest/struct.Client.html
/// [`reqwest::Response`]: https://docs.rs/reqwest/latest/reqwest/struct.Response.html
#[derive(Clone)]
pub struct ReqwestService {
    client: reqwest::Client,
}

impl ReqwestService {
    /// Creates a service that sends requests with `client`.
    pub fn new(client: reqwest::Client) -> Self {
        Self { client }
    }
}

impl<B> Service<Request<B>> for ReqwestService
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Sync + 'static,
{
    type Response = Response<reqwest::Body>;
    type Error = reqwest::Error;
    /// Resolves to the response.
    type Future = ReqwestFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ReqwestFuture::new(&self.client, request.map(reqwest::Body::wrap).try_into())
    }
}

// The default headers of a client may be secret, and reqwest would show them.
impl fmt::Debug for ReqwestService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestService").finish_non_exhaustive()
    }
}

/// The innermost service of an [`AuthorizedClient`](super::AuthorizedClient).
#[derive(Clone)]
pub(super) struct Sender {
    pub(super) client: reqwest::Client,
}

impl Service<Request<RequestBody>> for Sender {
    type Response = Response<reqwest::Body>;
    type Error = reqwest::Error;
    type Future = ReqwestFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        ReqwestFuture::new(&self.client, into_reqwest(request))
    }
}

pin_project! {
    /// Resolves to the response of a [`ReqwestService`].
    pub struct ReqwestFuture {
        #[pin]
        state: FutureState,
    }
}

pin_project! {
    #[project = StateProj]
    enum FutureState {
        Sent {
            #[pin]
            response: <reqwest::Client as Service<reqwest::Request>>::Future,
        },
        Failed {
            error: Option<reqwest::Error>,
        },
    }
}

impl ReqwestFuture {
    /// Sends `request`, or returns the error of its conversion.
    fn new(client: &reqwest::Client, request: reqwest::Result<reqwest::Request>) -> Self {
        // A reference to a client is a service too, and always ready.
        let mut client = client;
        let state = match request {
            Ok(request) => FutureState::Sent { response: client.call(request) },
            Err(error) => FutureState::Failed { error: Some(error) },
        };
        Self { state }
    }
}

impl Future for ReqwestFuture {
    type Output = reqwest::Result<Response<reqwest::Body>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Sent { response } => {
                response.poll(cx).map(|response| response.map(into_http_response))
            }
            StateProj::Failed { error } => {
                Poll::Ready(Err(error.take().expect("`ReqwestFuture` polled after completion")))
            }
        }
    }
}

impl fmt::Debug for ReqwestFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestFuture").finish_non_exhaustive()
    }
}
