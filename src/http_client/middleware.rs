use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use async_trait::async_trait;
use http::Extensions;
use reqwest_middleware::{Error, Middleware, Next};
use tower::{BoxError, Service};

use super::body::RequestBody;
use super::conversion::{into_http, into_http_response, into_reqwest};
use crate::cache::Tokens;
use crate::credentials::Credentials;
use crate::oauth2::{NoToken, OAuth2Layer};
use crate::replay::ReplayableLayer;
use crate::util::sync::LockExt;

/// Turns an [`OAuth2Layer`] into a middleware of reqwest-middleware.
///
/// Requests stay as they are: `client.get(url).send()`. They name the tokens of tenants, or no
/// token, with [`RequestExt`](crate::RequestExt). Bodies, timeouts and extensions of responses work
/// as in an [`AuthorizedClient`](super::AuthorizedClient).
///
/// Middleware that is added later is inside. It sees each send, with its token. Middleware that is
/// added earlier is outside, and sees one request and the last response.
///
/// Switch off redirects in the [`reqwest::Client`], because no middleware can see them. See
/// [`AuthorizedClient::new`](super::AuthorizedClient::new).
///
/// # Errors
///
/// Returns the errors of the inner middleware and of reqwest unchanged. If no token is available,
/// it returns [`Error::Middleware`], in which [`TokenError::find_in`](crate::TokenError::find_in)
/// finds the [`TokenError`](crate::TokenError).
///
/// # Example
///
/// ```no_run
/// use reqwest_middleware::ClientBuilder;
/// use tower_oauth2::http_client::OAuth2Middleware;
/// use tower_oauth2::{BoxError, OAuth2Layer, RequestExt};
///
/// async fn things(http: reqwest::Client, layer: OAuth2Layer) -> Result<String, BoxError> {
///     let client = ClientBuilder::new(http).with(OAuth2Middleware::new(layer)).build();
///
///     client.get("https://api.example.com/health").no_token().send().await?;
///     let response = client.get("https://api.example.com/things").send().await?;
///     Ok(response.error_for_status()?.text().await?)
/// }
/// ```
///
/// [`Error::Middleware`]: https://docs.rs/reqwest-middleware/latest/reqwest_middleware/enum.Error.html#variant.Middleware
/// [`reqwest::Client`]: https://docs.rs/reqwest/latest/reqwest/struct.Client.html
#[derive(Clone, Debug)]
pub struct OAuth2Middleware {
    layer: OAuth2Layer,
    replay_limit: usize,
}

impl OAuth2Middleware {
    /// Creates a middleware with the tokens and settings of `layer`.
    pub fn new(layer: OAuth2Layer) -> Self {
        Self { layer, replay_limit: ReplayableLayer::DEFAULT_LIMIT }
    }

    /// Sets how many bytes of a streaming body are remembered for a replay.
    ///
    /// The default is 64 KiB ([`ReplayableLayer::DEFAULT_LIMIT`]). A body in memory has no limit.
    #[must_use]
    pub fn replay_limit(mut self, bytes: usize) -> Self {
        self.replay_limit = bytes;
        self
    }
}

#[async_trait]
impl Middleware for OAuth2Middleware {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        let mut request = into_http(request, self.replay_limit)?;
        copy::<Tokens>(extensions, request.extensions_mut());
        copy::<NoToken>(extensions, request.extensions_mut());
        // The layer refuses a request with credentials in its extensions, which is a mistake.
        copy::<Credentials>(extensions, request.extensions_mut());
        let extensions = Mutex::new(extensions);
        let service = self.layer.layer(NextService { next, extensions: &extensions });
        let response = service.send(request).await.map_err(into_error)?;
        Ok(response.into())
    }
}

fn copy<T: Clone + Send + Sync + 'static>(from: &Extensions, to: &mut Extensions) {
    if let Some(value) = from.get::<T>() {
        to.insert(value.clone());
    }
}

/// The rest of the middleware chain as a service.
#[derive(Clone)]
struct NextService<'a, 'e> {
    next: Next<'a>,
    /// The extensions of the request, which all of its sends share.
    extensions: &'a Mutex<&'e mut Extensions>,
}

impl<'a> Service<http::Request<RequestBody>> for NextService<'a, '_> {
    type Response = http::Response<reqwest::Body>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send + 'a>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<RequestBody>) -> Self::Future {
        let Self { next, extensions } = self.clone();
        Box::pin(async move {
            let request = into_reqwest(request)?;
            // The inner middleware borrows the extensions while it waits, and a lock cannot be held
            // for that long.
            let mut own = extensions.lock_unpoisoned().clone();
            let result = next.run(request, &mut own).await;
            **extensions.lock_unpoisoned() = own;
            result.map(into_http_response)
        })
    }
}

/// Returns an error of the inner middleware unchanged, and wraps a token error.
fn into_error(error: BoxError) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => Error::middleware(TokenFailure(error)),
    }
}

/// Has the [`TokenError`](crate::TokenError) as its source.
///
/// [`Error`] hides the error that it was made of, and shows the sources of that error only.
#[derive(Debug)]
struct TokenFailure(BoxError);

impl fmt::Display for TokenFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for TokenFailure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}
