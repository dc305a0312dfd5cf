//! Erases the types of HTTP clients for token endpoints and metadata.

use bytes::{Buf, Bytes};
use http::{Request, Response};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tower::util::BoxCloneService;
use tower::{BoxError, Service, ServiceExt};

/// An HTTP client without its type. Token requests are rare, so the cost of the box does not
/// matter.
pub(crate) type BoxedClient = BoxCloneService<Request<Bytes>, Response<BoxedBody>, BoxError>;

/// The body of a response without its type.
pub(crate) type BoxedBody = UnsyncBoxBody<Bytes, BoxError>;

pub(crate) mod sealed {
    /// Holds a boxed client. Cannot be named outside of this crate.
    #[allow(missing_debug_implementations, reason = "callers cannot name this type")]
    pub struct Boxed(pub(crate) super::BoxedClient);

    pub trait Sealed<M> {}
}

/// Sends token requests and metadata requests.
///
/// The trait is implemented for each `tower::Service<http::Request<Full<Bytes>>>` that is `Clone +
/// Send + 'static` and returns an `http::Response`, and, with the feature `reqwest`, for
/// `reqwest::Client`. You cannot implement it for other types. The compiler infers `M`, which tells
/// kinds of clients apart.
///
/// # Example
///
/// ```
/// use tower_oauth2::TokenEndpoint;
/// use tower_oauth2::source::HttpClient;
///
/// fn endpoint<M>(http: impl HttpClient<M>) -> TokenEndpoint {
///     TokenEndpoint::new(http)
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot send requests to a token endpoint",
    label = "not a service of `http::Request<Full<Bytes>>` that is `Clone + Send + 'static`",
    note = "a client is a `tower::Service<http::Request<Full<Bytes>>, Response = \
            http::Response<_>>` that is `Clone + Send + 'static`, of `http` 1",
    note = "for request bodies of another type there is `TokenEndpoint::with_body`",
    note = "a `reqwest::Client` of reqwest 0.13 is a client with the feature `reqwest`"
)]
pub trait HttpClient<M>: sealed::Sealed<M> + Clone + Send + 'static {
    #[doc(hidden)]
    fn into_boxed(self) -> sealed::Boxed;
}

/// Marks tower services among the [`HttpClient`]s.
#[derive(Debug)]
#[non_exhaustive]
pub struct TowerClient;

impl<S, R> sealed::Sealed<TowerClient> for S where
    S: Service<Request<Full<Bytes>>, Response = Response<R>>
{
}

// The type of the body is fixed, because it lets the compiler infer that of a generic client.
#[diagnostic::do_not_recommend]
impl<S, R> HttpClient<TowerClient> for S
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static,
    R: Body<Error: Into<BoxError>> + Send + 'static,
    R::Data: Send,
{
    fn into_boxed(self) -> sealed::Boxed {
        sealed::Boxed(erase(self))
    }
}

/// Erases the type of a client.
pub(crate) fn boxed<M>(http: impl HttpClient<M>) -> BoxedClient {
    http.into_boxed().0
}

/// Erases the type of a client whose request bodies are of any type.
pub(crate) fn erase<S, B, R>(http: S) -> BoxedClient
where
    S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static,
    B: From<Bytes> + 'static,
    R: Body<Error: Into<BoxError>> + Send + 'static,
    R::Data: Send,
{
    BoxCloneService::new(
        http.map_request(|request: Request<Bytes>| request.map(B::from))
            .map_response(|response: Response<R>| response.map(erase_body))
            .map_err(Into::into),
    )
}

/// Erases the type of the body of a response.
pub(crate) fn erase_body<R>(body: R) -> BoxedBody
where
    R: Body<Error: Into<BoxError>> + Send + 'static,
    R::Data: Send,
{
    body.map_frame(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
        .map_err(Into::into)
        .boxed_unsync()
}
