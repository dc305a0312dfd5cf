use std::sync::Arc;

use http::HeaderName;
use tower::Layer;

use crate::cache::TokenCache;
use crate::origin::Origins;
use crate::replay::ReplayPolicy;
use crate::service::OAuth2;
use crate::shared::Shared;

/// A [`Layer`] that lets every request leave with a valid token: see [`OAuth2`].
///
/// All services that it makes, and those that its clones make, share one [`TokenCache`] and one memory of
/// APIs that refuse fresh tokens.
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
///     AccessToken, ClientAuth, ClientCredentials, OAuth2Layer, Origins, TokenCache, TokenRequest,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// // In the place of a `TokenEndpoint` and of a hyper client:
/// let endpoint = service_fn(|_: TokenRequest| async { AccessToken::new("t") });
/// let http = service_fn(|request: Request<Empty<Bytes>>| async move {
///     assert_eq!(request.headers()["authorization"], "Bearer t");
///     Ok::<_, BoxError>(Response::new(Empty::<Bytes>::new()))
/// });
///
/// let credentials = ClientCredentials::new(
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
    shared: Arc<Shared>,
}

impl OAuth2Layer {
    /// Tokens out of `tokens`, for requests to `origins` and to no others.
    pub fn new(tokens: TokenCache, origins: Origins) -> Self {
        Self { shared: Arc::new(Shared::new(tokens, origins)) }
    }

    /// Which responses say that the token was rejected; any 401 unless set.
    #[must_use]
    pub fn replay_policy(self, policy: ReplayPolicy) -> Self {
        self.edit(|shared| shared.policy = policy)
    }

    /// The header that carries the token, `Proxy-Authorization` for one; `Authorization` unless
    /// set.
    ///
    /// A request that passes two layers is seen by both: credentials in its extensions are used for
    /// both headers, and [`NoToken`](crate::NoToken) keeps both out.
    #[must_use]
    pub fn header_name(self, header: HeaderName) -> Self {
        self.edit(|shared| shared.header = Some(header))
    }

    /// Sends tokens over plain HTTP to other machines, where anyone on the way can read them: for
    /// networks that encrypt beneath HTTP, such as a service mesh.
    #[must_use]
    pub fn dangerously_allow_http(self) -> Self {
        self.edit(|shared| shared.allow_http = true)
    }

    /// Where the tokens come from.
    pub fn tokens(&self) -> &TokenCache {
        &self.shared.tokens
    }

    fn edit(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        change(Arc::make_mut(&mut self.shared));
        self
    }
}

impl<S: Clone> Layer<S> for OAuth2Layer {
    type Service = OAuth2<S>;

    fn layer(&self, inner: S) -> Self::Service {
        OAuth2::new(inner, self.shared.clone())
    }
}
