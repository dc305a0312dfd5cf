//! Returns the token endpoint's error response instead of the API's response.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, Response};
use http_body_util::{Either, Full};
use pin_project_lite::pin_project;
use tower::{BoxError, Layer, Service};

use crate::error::{TokenError, TokenErrorKind};

/// Turns a [`TokenError`] with a 4xx or 5xx response into that response.
///
/// Any other error is returned unchanged. `alf` does the same. Put this layer outside an
/// [`OAuth2Layer`](crate::OAuth2Layer). The response has status, `Content-Type`, `Retry-After`,
/// `WWW-Authenticate` and the body, of which the error kept at most 64 KiB. It has no other
/// headers, because those may set cookies, redirect the caller or clear its data in the name of the
/// API. The error is in the extensions of the response, so that it can be told from the API's
/// response.
///
/// # Example
///
/// ```
/// use tower::ServiceBuilder;
/// use tower_oauth2::OAuth2Layer;
/// use tower_oauth2::service::TokenErrorResponseLayer;
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
    /// Creates the layer.
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

/// Turns the token errors of the inner service into responses.
///
/// [`TokenErrorResponseLayer`] makes it.
#[derive(Clone, Debug)]
pub struct TokenErrorResponse<S> {
    inner: S,
}

impl<S> TokenErrorResponse<S> {
    /// Returns a reference to the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
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
    /// Resolves to the response.
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
    /// Resolves to the response of a [`TokenErrorResponse`] service.
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
    *response.headers_mut() = forwarded(headers);
    response.extensions_mut().insert(error.clone());
    Some(response)
}

/// The header fields that describe the error. Others are about the token endpoint's connection, its
/// site or the whole of its body, or would take effect at the caller.
const FORWARDED: [HeaderName; 3] = [CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE];

fn forwarded(headers: &HeaderMap) -> HeaderMap {
    let fields = FORWARDED.into_iter().flat_map(|name| {
        headers.get_all(&name).iter().map(move |value| (name.clone(), value.clone()))
    });
    fields.collect()
}
