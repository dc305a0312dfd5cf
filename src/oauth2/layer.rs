use std::sync::Arc;

use http::HeaderName;
use http::header::AUTHORIZATION;
use tower::Layer;

use super::config::LayerConfig;
use super::custom_header::{CustomHeader, Scheme};
use super::http_service::InnerService;
use super::service::OAuth2;
use crate::cache::Tokens;
use crate::error::ConfigError;
use crate::protocol::origins::Origins;
use crate::replay::ReplayPolicy;

/// Adds a valid token to each request, and resends the request after a rejection.
///
/// It is a tower [`Layer`] that makes [`OAuth2`] services. All services of a layer and of its
/// clones share their tokens.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use http::{Request, Response};
/// use http_body_util::Empty;
/// use bytes::Bytes;
/// use tower::timeout::TimeoutLayer;
/// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
/// use tower_oauth2::{
///     AccessToken, ClientAuth, Credentials, OAuth2Layer, Origins, TokenRequest, Tokens,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// // Instead of a `TokenEndpoint` and a hyper client:
/// let endpoint = service_fn(|_: TokenRequest| async { AccessToken::new("t") });
/// let http = service_fn(|request: Request<Empty<Bytes>>| async move {
///     assert_eq!(request.headers()["authorization"], "Bearer t");
///     Ok::<_, BoxError>(Response::new(Empty::<Bytes>::new()))
/// });
///
/// let credentials = Credentials::new(
///     "https://auth.example.com/token",
///     ClientAuth::client_secret_basic("client-id", "s3cr3t"),
/// )?;
/// let tokens = Tokens::new(credentials, endpoint);
/// let api = ServiceBuilder::new()
///     .layer(TimeoutLayer::new(Duration::from_secs(30)))
///     .layer(OAuth2Layer::new(tokens, Origins::only("https://api.example.com")?))
///     .service(http);
///
/// let request = Request::get("https://api.example.com/things").body(Empty::new())?;
/// assert!(api.oneshot(request).await?.status().is_success());
/// # Ok(())
/// # }
/// ```
///
/// [`Layer`]: https://docs.rs/tower/latest/tower/trait.Layer.html
#[derive(Clone, Debug)]
pub struct OAuth2Layer {
    config: Arc<LayerConfig>,
}

impl OAuth2Layer {
    /// Creates a layer that sends `tokens` to `origins`, and to no other origins.
    ///
    /// A request can name other tokens ([`RequestExt::tokens`](crate::RequestExt::tokens)). If
    /// these are tokens of tenants, use [`per_request`](Self::per_request). A request that loses its
    /// tokens, for example in a redirect, would get the layer's own token.
    pub fn new(tokens: Tokens, origins: Origins) -> Self {
        Self { config: Arc::new(LayerConfig::new(Some(tokens), origins)) }
    }

    /// Creates a layer for requests that name their tokens, for example those of a tenant.
    ///
    /// A request to one of `origins` that names neither tokens nor
    /// [`NoToken`](crate::NoToken) fails with
    /// [`TokenErrorKind::NoTokens`](crate::TokenErrorKind::NoTokens).
    ///
    /// # Example
    ///
    /// ```
    /// # use tower::service_fn;
    /// use bytes::Bytes;
    /// use http::Request;
    /// use http_body_util::Full;
    /// use tower_oauth2::{BoxError, OAuth2Layer, Origins, RequestExt};
    /// use tower_oauth2::{TokenError, TokenErrorKind, Tokens};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), BoxError> {
    /// # let http = service_fn(|_: Request<Full<Bytes>>| async {
    /// #     Ok::<_, BoxError>(http::Response::new(()))
    /// # });
    /// # let tenant = Tokens::fixed(tower_oauth2::AccessToken::new("t")?);
    /// let api = OAuth2Layer::per_request(Origins::only("https://api.example.com")?).layer(http);
    ///
    /// let request = Request::get("https://api.example.com/things").tokens(&tenant);
    /// api.send(request.body(Full::default())?).await?;
    ///
    /// let unnamed = Request::get("https://api.example.com/things").body(Full::default())?;
    /// let error = api.send(unnamed).await.unwrap_err();
    /// assert_eq!(TokenError::find_in(&*error).unwrap().kind(), TokenErrorKind::NoTokens);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias("multi-tenant", "tenant"))]
    pub fn per_request(origins: Origins) -> Self {
        Self { config: Arc::new(LayerConfig::new(None, origins)) }
    }

    /// Wraps a service, like tower's `Layer::layer`, without the trait in scope.
    pub fn layer<S: InnerService>(&self, inner: S) -> OAuth2<S> {
        OAuth2::new(inner, self.config.clone())
    }

    /// Sets which responses reject the token. By default, any 401 does.
    #[doc(alias("401", "unauthorized", "retry"))]
    #[must_use]
    pub fn replay_policy(self, policy: ReplayPolicy) -> Self {
        self.edit(|config| config.set_policy(policy))
    }

    /// Adds the rejections of gRPC servers to the policy, unless it matches no response.
    #[cfg(feature = "tonic")]
    pub(crate) fn for_grpc(self) -> Self {
        self.edit(|config| {
            if !config.policy.is_never() {
                let policy = config.policy.clone().or(ReplayPolicy::grpc_unauthenticated());
                config.set_policy(policy);
            }
        })
    }

    /// Sets the header that carries the token, such as `Proxy-Authorization`.
    ///
    /// The default is `Authorization`. With `Proxy-Authorization`, a 407 rejects the token as a 401
    /// does ([`ReplayPolicy::unauthorized`]). Such a layer also gives a token to CONNECT requests:
    /// their URI is the host and the port of the tunnel's end, and [`Origins`] list those, for
    /// example as `http://db.example.com:5432`, or [`Origins::any`] if one proxy serves all
    /// requests. The inner service decides whether the connection to the proxy uses TLS. In any
    /// other layer a CONNECT request gets no token, because a proxy would receive it instead of the
    /// API.
    ///
    /// If a request passes two layers, both read its extensions:
    /// tokens in them are used for both headers, and [`NoToken`](crate::NoToken) disables both.
    #[doc(alias("Authorization", "Proxy-Authorization", "proxy"))]
    #[must_use]
    pub fn header_name(self, header: HeaderName) -> Self {
        self.edit_header(|custom| custom.set_name(header))
    }

    /// Sets the text before the token, instead of the token's type.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `scheme` is empty or is not a token (RFC 9110 section 11.1).
    ///
    /// # Example
    ///
    /// ```
    /// # use tower_oauth2::{AccessToken, Origins, Tokens};
    /// use tower_oauth2::OAuth2Layer;
    ///
    /// # fn main() -> Result<(), tower_oauth2::ConfigError> {
    /// # let tokens = Tokens::fixed(AccessToken::new("t")?);
    /// let layer = OAuth2Layer::new(tokens, Origins::only("https://www.zohoapis.eu")?)
    ///     .scheme("Zoho-oauthtoken")?;
    /// # let _ = layer;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias("Bearer", "token_type"))]
    pub fn scheme(self, scheme: &'static str) -> Result<Self, ConfigError> {
        // The characters of header names are those of a scheme.
        if HeaderName::from_bytes(scheme.as_bytes()).is_err() {
            let problem = "must be one word of header name characters";
            return Err(ConfigError::new("scheme", problem).with_value(scheme));
        }
        Ok(self.edit_header(|custom| custom.set_scheme(Scheme::Custom(scheme))))
    }

    /// Sends the bare token, without a scheme before it.
    #[must_use]
    pub fn no_scheme(self) -> Self {
        self.edit_header(|custom| custom.set_scheme(Scheme::Absent))
    }

    /// Allows plain HTTP, where anyone on the path can read the tokens.
    ///
    /// Use it only in networks that encrypt below HTTP, such as a service mesh. Loopback addresses
    /// need no permission.
    #[must_use]
    pub fn dangerously_allow_http(self) -> Self {
        self.edit(|config| config.allow_http = true)
    }

    fn edit_header(self, change: impl FnOnce(&mut CustomHeader)) -> Self {
        self.edit(|config| {
            let mut custom = config.custom_header.take().unwrap_or_default();
            change(&mut custom);
            let is_usual = *custom.name() == AUTHORIZATION && custom.has_usual_scheme();
            config.custom_header = (!is_usual).then_some(custom);
            config.set_policy(config.policy.clone());
        })
    }

    fn edit(mut self, change: impl FnOnce(&mut LayerConfig)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self
    }
}

impl<S: InnerService> Layer<S> for OAuth2Layer {
    type Service = OAuth2<S>;

    fn layer(&self, inner: S) -> Self::Service {
        OAuth2::new(inner, self.config.clone())
    }
}
