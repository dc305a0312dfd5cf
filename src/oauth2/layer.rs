use std::sync::Arc;

use http::HeaderName;
use tower::Layer;

use super::config::LayerConfig;
use super::service::OAuth2;
use crate::cache::TokenCache;
use crate::protocol::origins::Origins;
use crate::replay::ReplayPolicy;

/// A [`Layer`] that sends each request with a valid token, and resends it if the token is rejected.
///
/// It makes [`OAuth2`] services. All services of a layer and of its clones share one
/// [`TokenCache`], which also knows the APIs that reject fresh tokens.
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
///     AccessToken, ClientAuth, Credentials, OAuth2Layer, Origins, TokenCache, TokenRequest,
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
/// let tokens = TokenCache::new(credentials, endpoint);
/// let api = ServiceBuilder::new()
///     .layer(TimeoutLayer::new(Duration::from_secs(30)))
///     .layer(OAuth2Layer::new(tokens, Origins::only(["https://api.example.com"])?))
///     .service(http);
///
/// let request = Request::get("https://api.example.com/things").body(Empty::new())?;
/// assert!(api.oneshot(request).await?.status().is_success());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct OAuth2Layer {
    config: Arc<LayerConfig>,
}

impl OAuth2Layer {
    /// Creates a layer that sends tokens from `tokens` to `origins`, and to no other origins.
    pub fn new(tokens: TokenCache, origins: Origins) -> Self {
        Self { config: Arc::new(LayerConfig::new(tokens, origins)) }
    }

    /// Sets which responses reject the token. By default, any 401 does.
    #[must_use]
    pub fn replay_policy(self, policy: ReplayPolicy) -> Self {
        self.edit(|config| config.policy = policy)
    }

    /// Sets the header that carries the token, such as `Proxy-Authorization`.
    ///
    /// The default is `Authorization`. If a request passes two layers, both read its extensions:
    /// credentials in them are used for both headers, and [`NoToken`](crate::NoToken) disables both.
    #[must_use]
    pub fn header_name(self, header: HeaderName) -> Self {
        self.edit(|config| config.header = Some(header))
    }

    /// Allows tokens to be sent over plain HTTP, where anyone on the path can read them.
    ///
    /// Use it only in networks that encrypt below HTTP, such as a service mesh. Loopback addresses
    /// need no permission.
    #[must_use]
    pub fn dangerously_allow_http(self) -> Self {
        self.edit(|config| config.allow_http = true)
    }

    /// Returns the cache that the tokens come from.
    pub fn tokens(&self) -> &TokenCache {
        &self.config.tokens
    }

    fn edit(mut self, change: impl FnOnce(&mut LayerConfig)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self
    }
}

impl<S: Clone> Layer<S> for OAuth2Layer {
    type Service = OAuth2<S>;

    fn layer(&self, inner: S) -> Self::Service {
        OAuth2::new(inner, self.config.clone())
    }
}
