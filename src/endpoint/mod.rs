//! Sends token requests (RFC 6749), as a tower service.

mod assertion_audience;
mod decode;
mod dialect;
mod discovery;
mod limits;
pub(crate) mod refresh;
mod retry;
#[cfg(feature = "jwt")]
mod self_signed;
mod single;
mod token_request;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::Body;
use tower::retry::Policy;
use tower::{BoxError, Service, ServiceExt};

use self::dialect::Dialect;
use self::limits::EndpointLimits;
use self::refresh::Refresh;
pub use self::retry::TokenRetry;
#[cfg(feature = "jwt")]
pub use self::self_signed::SelfSigned;
use self::single::SingleRequest;
use crate::credentials::request::TokenRequest;
use crate::error::{ConfigError, TokenError, TokenErrorKind};
use crate::protocol::http_client::{self, BoxedClient, HttpClient};
use crate::secret::{FileError, SecretTimeout};
use crate::token::AccessToken;
use crate::util::one_or_many::OneOrMany;

/// Requests tokens from token endpoints over an HTTP client (RFC 6749).
///
/// It is a tower service from [`TokenRequest`] to [`AccessToken`]. The credentials of a request
/// name the token endpoint, so one `TokenEndpoint` serves many token endpoints.
///
/// - **Retries.** A token request that fails in a way that may pass is retried twice by default
///   ([`retry`](Self::retry)). Each try is one HTTP request, with two exceptions: if the server
///   refuses an assertion because this machine's clock differs from its own, another request by the
///   server's clock follows at once; if the server requires a nonce or another time in a DPoP proof
///   (RFC 9449 section 8), another request follows too. So a try is at most three HTTP requests.
///   Credentials [from an issuer](crate::Credentials::from_issuer) may need requests for metadata
///   besides, and one more try if the metadata have changed.
/// - **Refresh tokens.** A refresh token ([`RefreshToken`](crate::grant::RefreshToken)) is used by
///   one token request at a time, and a rotated one is persisted before its access token is
///   returned. Such a token request runs in a separate task, so a caller that is dropped does not
///   lose a rotated token.
/// - **Bounds.** A try takes at most 30 seconds by default ([`timeout`](Self::timeout)). That
///   includes the time until the client is ready, client authentication and the response body. The
///   body of an error response gets at most half of the time that is left. At most 1 MiB of a
///   response is read. No redirect is followed, and no compression is requested (`Accept-Encoding:
///   identity`). Configure the HTTP client to follow no redirects either. If a `reqwest::Client`
///   follows one, it sends no body there, and the response is refused.
/// - **Compression.** A response in an encoding that no layer decoded is an error that names
///   `Content-Encoding`. For servers that compress without being asked, put a decompression layer
///   around the HTTP client. A layer may also replace the `Accept-Encoding` of the requests.
/// - **User agent.** Requests name `tower-oauth2/<version>` as their `User-Agent`. A layer around
///   the HTTP client or [`header`](Self::header) can replace it.
/// - **Other dialects.** [`json_body`](Self::json_body), [`header`](Self::header) and
///   [`token_type_alias`](Self::token_type_alias) are for servers that differ from the standard.
/// - **Readiness.** A clone of the HTTP client is made ready for each request, and none is held
///   between requests. So API and token endpoint can share one connection pool or concurrency
///   limit.
///
/// The guarantees [W1](crate::guide::guarantees#w1) to [W9](crate::guide::guarantees#w9) describe
/// the requests and responses exactly.
///
/// # Errors
///
/// Returns a [`TokenError`] whose [`kind`](TokenError::kind) says what failed. An
/// [`error_code`](TokenError::error_code) of `invalid_grant` for a refresh token usually means that
/// the user has to authorize again.
///
/// # Example
///
/// ```
/// use http_body_util::Full;
/// use bytes::Bytes;
/// use hyper_util::client::legacy::Client;
/// use hyper_util::client::legacy::connect::HttpConnector;
/// use tower_oauth2::{ClientAuth, ConfigError, Credentials, TokenEndpoint, Tokens};
///
/// fn tokens(http: Client<HttpConnector, Full<Bytes>>) -> Result<Tokens, ConfigError> {
///     let credentials = Credentials::new(
///         "https://auth.example.com/token",
///         ClientAuth::client_secret_basic("client-id", "s3cr3t"),
///     )?;
///     Ok(Tokens::new(credentials, TokenEndpoint::new(http)))
/// }
/// # let _ = tokens;
/// ```
///
/// A server that compresses responses without being asked, with the decompression of tower-http:
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use hyper_util::client::legacy::Client;
/// use hyper_util::client::legacy::connect::HttpConnector;
/// use tower::ServiceBuilder;
/// use tower_http::decompression::DecompressionLayer;
/// use tower_oauth2::TokenEndpoint;
///
/// fn endpoint(http: Client<HttpConnector, Full<Bytes>>) -> TokenEndpoint {
///     TokenEndpoint::new(ServiceBuilder::new().layer(DecompressionLayer::new()).service(http))
/// }
/// # let _ = endpoint;
/// ```
#[derive(Clone)]
pub struct TokenEndpoint {
    http: BoxedClient,
    limits: EndpointLimits,
    retry: TokenRetry,
    dialect: Arc<Dialect>,
}

impl TokenEndpoint {
    /// Creates an endpoint over `http`, with default settings.
    ///
    /// `http` is a tower service or, with the feature `reqwest`, a `reqwest::Client`.
    pub fn new<M>(http: impl HttpClient<M>) -> Self {
        Self::over(http_client::boxed(http))
    }

    /// Creates an endpoint over a client with another type of request body.
    ///
    /// [`new`](Self::new) takes clients of `Full<Bytes>`. Use this function for axum's `Body`, for
    /// example.
    ///
    /// # Example
    ///
    /// ```
    /// use axum::body::Body;
    /// use hyper_util::client::legacy::Client;
    /// use hyper_util::client::legacy::connect::HttpConnector;
    /// use tower_oauth2::TokenEndpoint;
    ///
    /// fn endpoint(http: Client<HttpConnector, Body>) -> TokenEndpoint {
    ///     TokenEndpoint::with_body(http)
    /// }
    /// # let _ = endpoint;
    /// ```
    pub fn with_body<S, B, R>(http: S) -> Self
    where
        S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + 'static,
        B: From<Bytes> + 'static,
        R: Body<Error: Into<BoxError>> + Send + 'static,
        R::Data: Send,
    {
        Self::over(http_client::erase(http))
    }

    fn over(http: BoxedClient) -> Self {
        Self {
            http,
            limits: EndpointLimits::default(),
            retry: TokenRetry::default(),
            dialect: Arc::default(),
        }
    }

    /// Sets how long one try may take, including the response body.
    ///
    /// The default is 30 seconds, and the maximum is a year.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.limits.timeout = timeout;
        self
    }

    /// Sets how failed token requests are retried. The default is two retries.
    ///
    /// A [`RetryLayer`][`tower::retry::RetryLayer`] outside needs [`TokenRetry::none`] here.
    /// Otherwise the numbers of tries multiply.
    ///
    /// [`tower::retry::RetryLayer`]: https://docs.rs/tower/latest/tower/retry/struct.RetryLayer.html
    #[doc(alias = "retries")]
    #[must_use]
    pub fn retry(mut self, retry: TokenRetry) -> Self {
        self.retry = retry;
        self
    }

    /// Sets which token endpoints may be called (all by default).
    ///
    /// The whole URLs must be equal, with path and query. The case of the host and the default port
    /// do not matter. Use the list if tenants configure credentials.
    /// Without it, a tenant can have requests sent to any host that this process can reach.
    ///
    /// Credentials [from an issuer](crate::Credentials::from_issuer) need both the issuer and its
    /// token endpoint in the list.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] for an endpoint that
    /// [`Credentials::new`](crate::Credentials::new) would not accept.
    #[doc(alias = "SSRF")]
    pub fn allowed_endpoints(mut self, endpoints: impl OneOrMany) -> Result<Self, ConfigError> {
        self.limits.allow_only(endpoints)?;
        Ok(self)
    }

    /// Allows plain HTTP, which sends client secrets and tokens in clear text.
    ///
    /// Use it only in networks that encrypt below HTTP, such as a service mesh. Loopback addresses
    /// need no permission.
    #[must_use]
    pub fn dangerously_allow_http(mut self) -> Self {
        self.limits.allow_http = true;
        self
    }

    /// Sends the parameters as a JSON object, for servers that accept nothing else.
    ///
    /// The values are strings. A parameter with several values is an array of strings.
    ///
    /// Like [`header`](Self::header) and [`token_type_alias`](Self::token_type_alias), it is not
    /// part of the identity of credentials. If the tokens of two endpoints that differ in it must
    /// not be mixed up, give each its own cache, and in a shared store its own prefix.
    #[must_use]
    pub fn json_body(mut self) -> Self {
        Arc::make_mut(&mut self.dialect).has_json_body = true;
        self
    }

    /// Adds a header to each token request, such as the key of a gateway.
    ///
    /// It replaces a header of this name that was set before, and the defaults of `Accept`,
    /// `Accept-Encoding` and `User-Agent`. A header of client authentication replaces it. The value
    /// is marked as sensitive. It goes to each endpoint that credentials name, so a secret needs
    /// [`allowed_endpoints`](Self::allowed_endpoints) unless all credentials are trusted. A key
    /// that is read for each request needs a custom
    /// [`ClientAuthentication`](crate::client_auth::ClientAuthentication), which has an example.
    /// Requests for metadata do not have the header.
    ///
    /// # Errors
    ///
    /// Returns an error if the name or the value cannot be sent in a header, if the value is empty,
    /// and for a header that client authentication, this crate or the HTTP client sets:
    /// `Authorization`, `Content-Type`, `DPoP`, `Host` and those that describe the body or the
    /// connection.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_oauth2::{ConfigError, TokenEndpoint};
    /// use tower_oauth2::source::HttpClient;
    ///
    /// fn endpoint<M>(http: impl HttpClient<M>, key: &str) -> Result<TokenEndpoint, ConfigError> {
    ///     TokenEndpoint::new(http).header("x-api-key", key)
    /// }
    /// ```
    pub fn header(
        mut self,
        name: impl TryInto<HeaderName>,
        value: impl TryInto<HeaderValue>,
    ) -> Result<Self, ConfigError> {
        Arc::make_mut(&mut self.dialect).set_header(name, value)?;
        Ok(self)
    }

    /// Accepts `alias` as the `token_type` of Bearer tokens, in any case of letters.
    ///
    /// Apigee sends `BearerToken`. By default, only `Bearer` and a missing type are accepted. A
    /// token of the type `DPoP` always needs a [DPoP key](crate::Credentials::dpop).
    ///
    /// # Example
    ///
    /// ```
    /// use tower_oauth2::TokenEndpoint;
    /// use tower_oauth2::source::HttpClient;
    ///
    /// fn apigee<M>(http: impl HttpClient<M>) -> TokenEndpoint {
    ///     TokenEndpoint::new(http).token_type_alias("BearerToken")
    /// }
    /// ```
    #[must_use]
    pub fn token_type_alias(mut self, alias: impl AsRef<str>) -> Self {
        Arc::make_mut(&mut self.dialect).add_token_type(alias.as_ref());
        self
    }

    async fn fetch(self, mut request: TokenRequest) -> Result<AccessToken, TokenError> {
        let Self { http, limits, mut retry, dialect } = self;
        // Retries go outside, because a retry has to begin with the current refresh token.
        let once = Refresh::new(SingleRequest { http, limits, dialect });
        loop {
            let mut result = once.clone().oneshot(request.clone()).await;
            match retry.retry(&mut request, &mut result) {
                Some(wait) => wait.await,
                None => return result,
            }
        }
    }
}

impl Service<TokenRequest> for TokenEndpoint {
    type Response = AccessToken;
    type Error = TokenError;
    /// Resolves to the token.
    type Future = Pin<Box<dyn Future<Output = Result<AccessToken, TokenError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: TokenRequest) -> Self::Future {
        Box::pin(self.clone().fetch(request))
    }
}

impl fmt::Debug for TokenEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenEndpoint")
            .field("timeout", &self.limits.timeout)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

/// Returns the error for a secret or key that is not available.
fn not_available(error: BoxError) -> TokenError {
    let note =
        if error.is::<SecretTimeout>() { "a secret or key did not arrive in time" } else { "" };
    TokenError::with_source(TokenErrorKind::ClientAuthentication, error)
        .with_known_cause::<FileError>()
        .with_note(note)
}
