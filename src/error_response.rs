//! For those who want the token endpoint's response where the API's would have been.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Response};
use http_body_util::{Either, Full};
use pin_project_lite::pin_project;
use tower::{BoxError, Layer, Service};

use crate::error::{TokenError, TokenErrorKind};

/// Turns a [`TokenError`] that has the token endpoint's own error response, a 4xx or 5xx, into that
/// response, as `alf` does. Any other error stays what it is.
///
/// It goes outside an [`OAuth2Layer`](crate::OAuth2Layer). `Set-Cookie` and the headers that frame a message are
/// left out, and the error is in the extensions of the response, so that the two can still be told
/// apart.
///
/// # Example
///
/// ```
/// use tower::ServiceBuilder;
/// use tower_oauth2::{OAuth2Layer, TokenErrorResponseLayer};
///
/// fn stack<S: Clone>(oauth2: OAuth2Layer, http: S) -> impl Sized {
///     ServiceBuilder::new()
///         .layer(TokenErrorResponseLayer::new())
///         .layer(oauth2)
///         .service(http)
/// }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct TokenErrorResponseLayer {}

impl TokenErrorResponseLayer {
    /// The layer; it has no settings.
    pub const fn new() -> Self {
        Self {}
    }
}

impl<S> Layer<S> for TokenErrorResponseLayer {
    type Service = TokenErrorResponse<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TokenErrorResponse { inner }
    }
}

/// Turns token errors into responses; made by a [`TokenErrorResponseLayer`].
#[derive(Clone, Debug)]
pub struct TokenErrorResponse<S> {
    inner: S,
}

impl<S> TokenErrorResponse<S> {
    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, Request, B> Service<Request> for TokenErrorResponse<S>
where
    S: Service<Request, Response = Response<B>>,
    S::Error: Into<BoxError>,
{
    type Response = Response<Either<B, Full<Bytes>>>;
    type Error = BoxError;
    type Future = ErrorResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let future = self.inner.call(request);
        ErrorResponseFuture { future }
    }
}

pin_project! {
    /// The future of a [`TokenErrorResponse`] service.
    #[derive(Debug)]
    pub struct ErrorResponseFuture<F> {
        #[pin]
        future: F,
    }
}

impl<F, B, E> Future for ErrorResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<Either<B, Full<Bytes>>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(self.project().future.poll(cx)) {
            Ok(response) => Ok(response.map(Either::Left)),
            Err(error) => {
                let error = error.into();
                match TokenError::find_in(&*error).and_then(to_response) {
                    Some(response) => Ok(response.map(Either::Right)),
                    None => Err(error),
                }
            }
        })
    }
}

fn to_response(error: &TokenError) -> Option<Response<Full<Bytes>>> {
    let (status, headers, body) = (error.status()?, error.headers()?, error.body()?);
    let is_error = status.is_client_error() || status.is_server_error();
    if error.kind() != TokenErrorKind::ErrorResponse || !is_error {
        return None;
    }
    let mut response = Response::new(Full::new(body.clone()));
    *response.status_mut() = status;
    *response.headers_mut() = without_framing(headers);
    response.extensions_mut().insert(error.clone());
    Some(response)
}

/// Headers that belonged to the connection (RFC 9110 section 7.6.1) or to the whole of the body,
/// and cookies, which are the token endpoint's.
fn without_framing(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|names| names.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let mut headers = headers.clone();
    for name in named.into_iter().chain([
        CONNECTION,
        CONTENT_LENGTH,
        SET_COOKIE,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ]) {
        headers.remove(name);
    }
    headers
}
