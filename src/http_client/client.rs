use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use pin_project_lite::pin_project;
use reqwest::redirect::Policy;
use tower::{BoxError, Service};

use super::body::RequestBody;
use super::conversion::into_http;
use super::service::Sender;
use crate::cache::Tokens;
use crate::oauth2::{OAuth2, OAuth2Layer, ResponseFuture, add_tokens};
use crate::replay::ReplayableLayer;

/// Sends requests of reqwest with a valid token, and resends them after a rejection.
///
/// It contains a [`reqwest::Client`]. Build requests as usual, and send them with
/// [`send`](Self::send) instead of [`reqwest::RequestBuilder::send`]. Clones share connections and
/// tokens. It is also a [`tower::Service`] of `http::Request<reqwest::Body>`.
///
/// - **Redirects.** [`from_builder`](Self::from_builder) switches off reqwest's own redirects, so a
///   302 is returned to the caller. Switch them off in a client for [`new`](Self::new) too.
/// - **Bodies.** A body in memory, such as JSON or a form, is replayed, whatever its size. For
///   a stream or a multipart form, up to 64 KiB are remembered
///   ([`replay_limit`](Self::replay_limit)). If more was sent, the 401 is returned with
///   [`NotReplayed::Body`](crate::replay::NotReplayed::Body).
/// - **Timeouts.** The [timeout of a request][`reqwest::RequestBuilder::timeout`] includes the wait
///   for a token and the replay. The [timeout of the client][`reqwest::ClientBuilder::timeout`]
///   applies to each send, and not to the wait for a token. As a tower service, both apply to each
///   send, and a [`Timeout`][`tower::timeout::Timeout`] outside bounds everything.
/// - **Extensions.** [`Replayed`](crate::replay::Replayed) and
///   [`NoTokenSent`](crate::service::NoTokenSent) are in [`reqwest::Response::extensions`].
///
/// # Errors
///
/// Returns a [`reqwest::Error`], or a [`TokenError`](crate::TokenError) if no token is available.
/// [`TokenError::find_in`](crate::TokenError::find_in) tells them apart.
///
/// # Example
///
/// ```no_run
/// use reqwest::redirect::Policy;
/// use tower_oauth2::http_client::AuthorizedClient;
/// use tower_oauth2::{
///     BoxError, ClientAuth, Credentials, OAuth2Layer, Origins, Secret, TokenEndpoint, Tokens,
/// };
///
/// #[tokio::main]
/// async fn main() -> Result<(), BoxError> {
///     let http = reqwest::Client::builder().redirect(Policy::none()).build()?;
///     let auth = ClientAuth::client_secret_basic("client-id", Secret::env("CLIENT_SECRET")?);
///     let credentials = Credentials::new("https://auth.example.com/token", auth)?;
///     let tokens = Tokens::new(credentials, TokenEndpoint::new(http.clone()));
///     let layer = OAuth2Layer::new(tokens, Origins::only("https://api.example.com")?);
///     let api = AuthorizedClient::new(http.clone(), layer);
///
///     let response = api.send(http.get("https://api.example.com/things")).await?;
///     println!("{}", response.error_for_status()?.text().await?);
///     Ok(())
/// }
/// ```
///
/// [`reqwest::ClientBuilder::timeout`]: https://docs.rs/reqwest/latest/reqwest/struct.ClientBuilder.html#method.timeout
/// [`reqwest::Client`]: https://docs.rs/reqwest/latest/reqwest/struct.Client.html
/// [`reqwest::Error`]: https://docs.rs/reqwest/latest/reqwest/struct.Error.html
/// [`reqwest::RequestBuilder::send`]: https://docs.rs/reqwest/latest/reqwest/struct.RequestBuilder.html#method.send
/// [`reqwest::RequestBuilder::timeout`]: https://docs.rs/reqwest/latest/reqwest/struct.RequestBuilder.html#method.timeout
/// [`reqwest::Response::extensions`]: https://docs.rs/reqwest/latest/reqwest/struct.Response.html#method.extensions
/// [`tower::Service`]: https://docs.rs/tower/latest/tower/trait.Service.html
/// [`tower::timeout::Timeout`]: https://docs.rs/tower/latest/tower/timeout/struct.Timeout.html
#[derive(Clone)]
pub struct AuthorizedClient {
    service: OAuth2<Sender>,
    tokens: Option<Tokens>,
    replay_limit: usize,
}

impl AuthorizedClient {
    /// Creates a client over a `reqwest::Client`, whose redirects should be off.
    ///
    /// A client that follows redirects does so beneath the layer, which cannot detect it, because
    /// reqwest has no getter for its policy. When a redirect leads to another host or port, reqwest
    /// removes `Authorization`, `Proxy-Authorization` and cookies. A token in any other header
    /// ([`OAuth2Layer::header_name`]) is sent to each host that a response names, and a 401 of that
    /// host rejects the token. Use [`from_builder`](Self::from_builder), or build the client with
    /// [`Policy::none`].
    ///
    /// [`Policy::none`]: https://docs.rs/reqwest/latest/reqwest/redirect/struct.Policy.html#method.none
    pub fn new(client: reqwest::Client, layer: OAuth2Layer) -> Self {
        Self {
            service: layer.layer(Sender { client }),
            tokens: None,
            replay_limit: ReplayableLayer::DEFAULT_LIMIT,
        }
    }

    /// Builds a client that does not follow redirects.
    ///
    /// So no redirect can send a token elsewhere. A redirect is returned to the caller.
    /// [`client`](Self::client) builds the requests.
    ///
    /// # Errors
    ///
    /// Returns the error of [`reqwest::ClientBuilder::build`].
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_oauth2::http_client::AuthorizedClient;
    /// use tower_oauth2::{BoxError, OAuth2Layer};
    ///
    /// async fn things(layer: OAuth2Layer) -> Result<String, BoxError> {
    ///     let builder = reqwest::Client::builder().timeout(Duration::from_secs(30));
    ///     let api = AuthorizedClient::from_builder(builder, layer)?;
    ///     let request = api.client().get("https://api.example.com/things");
    ///     Ok(api.send(request).await?.text().await?)
    /// }
    /// # let _ = things;
    /// ```
    ///
    /// [`reqwest::ClientBuilder::build`]: https://docs.rs/reqwest/latest/reqwest/struct.ClientBuilder.html#method.build
    pub fn from_builder(
        builder: reqwest::ClientBuilder,
        layer: OAuth2Layer,
    ) -> reqwest::Result<Self> {
        Ok(Self::new(builder.redirect(Policy::none()).build()?, layer))
    }

    /// Sets how many bytes of a streaming body are remembered for a replay.
    ///
    /// The default is 64 KiB ([`ReplayableLayer::DEFAULT_LIMIT`]). A body in memory has no limit.
    #[must_use]
    pub fn replay_limit(mut self, bytes: usize) -> Self {
        self.replay_limit = bytes;
        self
    }

    /// Returns a client that sends requests with `tokens`, such as those of a tenant.
    ///
    /// Connections and the layer's [`Origins`](crate::Origins) are shared. A request that names its
    /// own tokens or [`NoToken`](crate::NoToken) in its extensions keeps them.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_oauth2::http_client::AuthorizedClient;
    /// use tower_oauth2::{BoxError, OAuth2Layer, Origins, Tokens};
    ///
    /// async fn invoices(http: reqwest::Client, tenant: &Tokens) -> Result<String, BoxError> {
    ///     // A request without a tenant fails.
    ///     let layer = OAuth2Layer::per_request(Origins::only("https://api.example.com")?);
    ///     let api = AuthorizedClient::new(http.clone(), layer);
    ///     let request = http.get("https://api.example.com/invoices");
    ///     Ok(api.with_tokens(tenant).send(request).await?.text().await?)
    /// }
    /// # let _ = invoices;
    /// ```
    #[must_use]
    pub fn with_tokens(&self, tokens: &Tokens) -> Self {
        Self { tokens: Some(tokens.clone()), ..self.clone() }
    }

    /// Returns the inner client, which builds the requests.
    ///
    /// A request that this client sends itself has no token.
    pub fn client(&self) -> &reqwest::Client {
        &self.service.get_ref().client
    }

    /// Builds a request and sends it with a valid token.
    ///
    /// Use it instead of [`reqwest::RequestBuilder::send`]. The request is sent with the client of
    /// this value, even if another client built it.
    ///
    /// # Errors
    ///
    /// Returns a [`reqwest::Error`], or a [`TokenError`](crate::TokenError) if no token is
    /// available.
    ///
    /// [`reqwest::Error`]: https://docs.rs/reqwest/latest/reqwest/struct.Error.html
    /// [`reqwest::RequestBuilder::send`]: https://docs.rs/reqwest/latest/reqwest/struct.RequestBuilder.html#method.send
    pub fn send(
        &self,
        request: reqwest::RequestBuilder,
    ) -> impl Future<Output = Result<reqwest::Response, BoxError>> + Send + use<> {
        self.execute_built(request.build())
    }

    /// Sends a request with a valid token.
    ///
    /// Use it instead of [`reqwest::Client::execute`].
    ///
    /// # Errors
    ///
    /// Returns a [`reqwest::Error`], or a [`TokenError`](crate::TokenError) if no token is
    /// available.
    ///
    /// # Example
    ///
    /// To name the tokens of a request, or to send it without one, build an `http::Request`:
    ///
    /// ```
    /// use tower_oauth2::http_client::AuthorizedClient;
    /// use tower_oauth2::{BoxError, RequestExt};
    ///
    /// async fn is_up(api: &AuthorizedClient) -> Result<bool, BoxError> {
    ///     let request = http::Request::get("https://api.example.com/health").no_token();
    ///     let response = api.execute(request.body("")?.try_into()?).await?;
    ///     Ok(response.status().is_success())
    /// }
    /// # let _ = is_up;
    /// ```
    ///
    /// [`reqwest::Client::execute`]: https://docs.rs/reqwest/latest/reqwest/struct.Client.html#method.execute
    /// [`reqwest::Error`]: https://docs.rs/reqwest/latest/reqwest/struct.Error.html
    pub fn execute(
        &self,
        request: reqwest::Request,
    ) -> impl Future<Output = Result<reqwest::Response, BoxError>> + Send + use<> {
        self.execute_built(Ok(request))
    }

    fn execute_built(
        &self,
        request: reqwest::Result<reqwest::Request>,
    ) -> impl Future<Output = Result<reqwest::Response, BoxError>> + Send + use<> {
        let request = request.and_then(|request| into_http(request, self.replay_limit));
        let sent =
            request.map(|request| self.service.send(add_tokens(request, self.tokens.as_ref())));
        async move { Ok(sent?.await?.into()) }
    }
}

impl Service<Request<reqwest::Body>> for AuthorizedClient {
    type Response = Response<reqwest::Body>;
    type Error = BoxError;
    /// Resolves to the response.
    type Future = AuthorizedFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request<reqwest::Body>) -> Self::Future {
        let limit = self.replay_limit;
        let request = request.map(|body| RequestBody::new(body, limit));
        let request = add_tokens(request, self.tokens.as_ref());
        AuthorizedFuture { response: self.service.call(request) }
    }
}

// The default headers of a client may be secret, and reqwest would show them.
impl fmt::Debug for AuthorizedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizedClient")
            .field("tokens", &self.tokens.as_ref().or(self.service.tokens()))
            .field("replay_limit", &self.replay_limit)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// Resolves to the response of an [`AuthorizedClient`] as a service.
    pub struct AuthorizedFuture {
        #[pin]
        response: ResponseFuture<Sender, RequestBody>,
    }
}

impl Future for AuthorizedFuture {
    type Output = Result<Response<reqwest::Body>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().response.poll(cx)
    }
}

impl fmt::Debug for AuthorizedFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizedFuture").finish_non_exhaustive()
    }
}
