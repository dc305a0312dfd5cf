//! RFC 6749 on the wire: a token endpoint as a service.

mod decode;
mod exchange;
mod retry;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::Body;
use http_body_util::Full;
use tokio::runtime::Handle;
use tower::{BoxError, Service};

use self::exchange::exchange;
pub use self::retry::TokenRetry;
use crate::credentials::Credentials;
use crate::credentials::request::TokenRequest;
use crate::error::{ConfigError, TokenError, TokenErrorKind};
use crate::metrics::{FetchTimer, Measured};
use crate::protocol::origin::{Origin, parse_absolute};
use crate::token::AccessToken;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Asks a token endpoint over HTTP: a service from [`TokenRequest`] to [`AccessToken`] over any
/// service from HTTP requests to HTTP responses (RFC 6749 sections 4.4.2 and 5).
///
/// One call is one HTTP request, with two exceptions. If an assertion is refused because this
/// machine's clock differs from the server's, another request by the server's clock follows at once
/// ([`TokenRequestParts::now`](crate::client_auth::TokenRequestParts::now)). If the server wants a nonce or
/// another time in a DPoP proof (RFC 9449 section 8), another request follows too. So a call is at
/// most three HTTP requests.
///
/// It follows no redirect, asks for no compression, and reads at most 1 MiB of a response. A call
/// takes at most 30 seconds unless [`timeout`](Self::timeout) is set. Waiting for the client to be
/// ready, client authentication and the response's body are part of that time. The body of a
/// response that refuses gets at most half of the time that is left. Configure the HTTP client to
/// follow no redirects either.
///
/// A clone of the HTTP client is made ready in each call and none is held between calls, so API and
/// token endpoint may share one connection pool or concurrency limit.
///
/// # Errors
///
/// A [`TokenError`] whose [`kind`](TokenError::kind) says what went wrong.
///
/// # Example
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{BoxError, ServiceExt, service_fn};
/// use tower_oauth2::{ClientAuth, Credentials, TokenEndpoint, TokenRequest};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// // In the place of a hyper client:
/// let http = service_fn(|request: Request<Full<Bytes>>| async move {
///     assert_eq!(request.uri(), "https://auth.example.com/token");
///     let body = r#"{"access_token":"t","token_type":"bearer","expires_in":3600}"#;
///     Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(body)))
/// });
///
/// let credentials = Credentials::new(
///     "https://auth.example.com/token",
///     ClientAuth::client_secret_basic("client-id", "s3cr3t"),
/// )?;
/// let token = TokenEndpoint::new(http).oneshot(TokenRequest::new(credentials)).await?;
/// assert_eq!(token.secret(), "t");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TokenEndpoint<H> {
    http: H,
    rules: Rules,
}

#[derive(Clone)]
struct Rules {
    timeout: Duration,
    allowed: Option<Arc<[(Origin, String)]>>,
    allow_http: bool,
}

impl<H> TokenEndpoint<H> {
    /// Asks over `http`.
    pub fn new(http: H) -> Self {
        let rules = Rules { timeout: DEFAULT_TIMEOUT, allowed: None, allow_http: false };
        Self { http, rules }
    }

    /// How long one token request may take, body and all; 30 seconds unless set, and a year at most.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.rules.timeout = timeout;
        self
    }

    /// The token endpoints that may be asked, each as credentials name it; all unless set. For
    /// credentials that come from tenants: without it, a tenant can have requests sent to any host
    /// that this process can reach.
    ///
    /// # Errors
    ///
    /// An endpoint that [`Credentials::new`] would refuse.
    pub fn allowed_endpoints<I>(mut self, endpoints: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        const WHAT: &str = "allowed endpoint";
        let allowed = endpoints.into_iter().map(|endpoint| {
            let uri = parse_absolute(endpoint.as_ref(), WHAT)?;
            let origin = Origin::of(&uri).ok_or(ConfigError::new(WHAT, "needs a host"))?;
            Ok((origin, path_of(&uri).to_owned()))
        });
        self.rules.allowed = Some(allowed.collect::<Result<_, _>>()?);
        Ok(self)
    }

    /// Allows endpoints over plain HTTP on other machines, which sends client secrets and tokens in
    /// clear text: for networks that encrypt beneath HTTP, such as a service mesh.
    #[must_use]
    pub fn dangerously_allow_http(mut self) -> Self {
        self.rules.allow_http = true;
        self
    }

    /// The HTTP client.
    pub fn get_ref(&self) -> &H {
        &self.http
    }

    /// The HTTP client.
    pub fn get_mut(&mut self) -> &mut H {
        &mut self.http
    }

    /// The HTTP client.
    pub fn into_inner(self) -> H {
        self.http
    }
}

impl<H: fmt::Debug> fmt::Debug for TokenEndpoint<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenEndpoint")
            .field("http", &self.http)
            .field("timeout", &self.rules.timeout)
            .finish_non_exhaustive()
    }
}

impl Rules {
    fn check(&self, credentials: &Credentials) -> Result<(), TokenError> {
        if !credentials.token_endpoint_origin().is_secure() && !self.allow_http {
            return Err(TokenError::new(TokenErrorKind::InsecureUri, ""));
        }
        if credentials.refresh_token_to_use().is_some() {
            let why = "needs a RefreshTokenLayer around the token endpoint";
            let error = ConfigError::new("refresh token", why);
            return Err(TokenError::with_source(
                TokenErrorKind::ClientAuthentication,
                error.into(),
            ));
        }
        let uri = credentials.token_endpoint();
        match &self.allowed {
            Some(allowed)
                if !allowed.iter().any(|(origin, path)| {
                    origin == credentials.token_endpoint_origin() && path == path_of(uri)
                }) =>
            {
                Err(TokenError::new(TokenErrorKind::EndpointNotAllowed, ""))
            }
            _ => Ok(()),
        }
    }
}

impl<H, B> Service<TokenRequest> for TokenEndpoint<H>
where
    H: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + 'static,
    H::Error: Into<BoxError>,
    H::Future: Send,
    B: Body + Send,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = AccessToken;
    type Error = TokenError;
    type Future = Pin<Box<dyn Future<Output = Result<AccessToken, TokenError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // The client is made ready in `call`, after client authentication, which may take its
        // time: nothing is held until then.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: TokenRequest) -> Self::Future {
        let (http, rules) = (self.http.clone(), self.rules.clone());
        Box::pin(async move {
            let credentials = request.credentials();
            let timer = FetchTimer::start(Measured::TokenRequest, &request);
            let fetched = async {
                rules.check(credentials)?;
                if Handle::try_current().is_err() {
                    return Err(TokenError::new(TokenErrorKind::NoRuntime, ""));
                }
                exchange(http, &request, rules.timeout).await
            };
            let result = fetched.await;
            timer.finish(&result);
            result.map_err(|error| error.at(credentials.token_endpoint_origin()))
        })
    }
}

fn path_of(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |path| path.as_str())
}
