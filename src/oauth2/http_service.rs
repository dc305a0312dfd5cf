//! Names the bounds of inner services, for clear compiler errors.

use http::{Request, Response};
use tower::{BoxError, Service};

/// Names the services that send HTTP requests with bodies of type `B`.
///
/// The trait is an alias: it is implemented for every service that meets its bounds, and exists for
/// clear compiler errors.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent a request with a body of type `{B}`",
    label = "not a service of `http::Request<{B}>`",
    note = "the body must be of the type that the HTTP client takes, such as `Full<Bytes>` for a \
            `hyper_util::client::legacy::Client<_, Full<Bytes>>`",
    note = "the client must be a `tower::Service<http::Request<{B}>, Response = http::Response<_>>` \
            that is `Clone`, of `http` 1",
    note = "wrap a `reqwest::Client` in `tower_oauth2::http_client::AuthorizedClient` (feature \
            `reqwest`)"
)]
pub trait HttpService<B>:
    Service<Request<B>, Response = Response<Self::ResponseBody>, Error: Into<BoxError>> + Clone
{
    /// Names the type of the response bodies.
    type ResponseBody;
}

#[diagnostic::do_not_recommend]
impl<S, B, ResBody> HttpService<B> for S
where
    S: Service<Request<B>, Response = Response<ResBody>, Error: Into<BoxError>> + Clone,
{
    type ResponseBody = ResBody;
}

/// Names the services that an [`OAuth2Layer`](crate::OAuth2Layer) can wrap.
///
/// The trait is an alias: it is implemented for every service that meets its bounds, and exists for
/// clear compiler errors.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not `Clone`, and cannot be inside an `OAuth2Layer`",
    label = "a clone is made for requests that wait for a token, and for those that are resent",
    note = "put a `tower::buffer::BufferLayer` between them, or make it `Clone`"
)]
pub trait InnerService: Clone {}

#[diagnostic::do_not_recommend]
impl<S: Clone> InnerService for S {}
