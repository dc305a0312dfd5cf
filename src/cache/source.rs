use tower::{BoxError, Service};

use crate::credentials::request::TokenRequest;
use crate::token::AccessToken;

/// Names the services that a [`TokenCache`](crate::TokenCache) can fetch tokens from.
///
/// The trait is an alias: it is implemented for every service that meets its bounds, and exists for
/// clear compiler errors. A [`TokenEndpoint`](crate::TokenEndpoint) is a source. So are a stack of
/// tower's layers over one, and a function in [`tower::service_fn`].
///
/// [`tower::service_fn`]: https://docs.rs/tower/latest/tower/fn.service_fn.html
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a source of tokens",
    label = "not a source of tokens",
    note = "wrap an HTTP client in `TokenEndpoint::new`, and a function in `tower::service_fn`",
    note = "a source is a `tower::Service<TokenRequest, Response = AccessToken>` that is `Clone + \
            Send + 'static`, with a future that is `Send + 'static`"
)]
pub trait TokenSource:
    Service<TokenRequest, Response = AccessToken, Error: Into<BoxError>, Future: Send + 'static>
    + Clone
    + Send
    + 'static
{
}

#[diagnostic::do_not_recommend]
impl<S> TokenSource for S where
    S: Service<TokenRequest, Response = AccessToken, Error: Into<BoxError>, Future: Send + 'static>
        + Clone
        + Send
        + 'static
{
}
