use std::fmt;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Request, Uri};
use tower::Layer;

use crate::cache::{AtHand, Hit, TokenCache};
use crate::credentials::ClientCredentials;
use crate::origin::{Origins, Verdict};
use crate::replay::{Breaker, ReplayPolicy};
use crate::service::{NoToken, OAuth2};

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

/// What a layer and all that it made have in common.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) tokens: TokenCache,
    pub(crate) origins: Origins,
    /// What the cache's own credentials leave of them.
    narrower: Option<Origins>,
    pub(crate) policy: ReplayPolicy,
    /// Other than `Authorization`.
    pub(crate) header: Option<HeaderName>,
    pub(crate) allow_http: bool,
    pub(crate) breaker: Arc<Breaker>,
}

impl OAuth2Layer {
    /// Tokens out of `tokens`, for requests to `origins` and to no others.
    pub fn new(tokens: TokenCache, origins: Origins) -> Self {
        Self {
            shared: Arc::new(Shared {
                narrower: tokens.credentials().allowed_origins().cloned(),
                tokens,
                origins,
                policy: ReplayPolicy::default(),
                header: None,
                allow_http: false,
                breaker: Arc::default(),
            }),
        }
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
    /// both headers, and [`NoToken`] keeps both out.
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

impl<S> Layer<S> for OAuth2Layer {
    type Service = OAuth2<S>;

    fn layer(&self, inner: S) -> Self::Service {
        OAuth2::new(inner, self.shared.clone())
    }
}

impl Shared {
    /// The hit: a request that is to have a token, and a token that is there.
    #[inline]
    pub(crate) fn grant_at_once<'a, B>(
        &self,
        request: &Request<B>,
        at_hand: &'a mut AtHand,
    ) -> Option<Hit<'a>> {
        let (uri, extensions) = (request.uri(), request.extensions());
        if !extensions.is_empty() {
            return self.grant_as_extensions_say(uri, extensions, at_hand);
        }
        match self.judge(uri, None) {
            Verdict::Secure => self.tokens.peek(at_hand),
            Verdict::Foreign | Verdict::Insecure => None,
        }
    }

    /// Not inlined: most of its work are look-ups, and it would crowd the way of all others.
    #[inline(never)]
    fn grant_as_extensions_say<'a>(
        &self,
        uri: &Uri,
        extensions: &Extensions,
        at_hand: &'a mut AtHand,
    ) -> Option<Hit<'a>> {
        if extensions.get::<NoToken>().is_some() {
            return None;
        }
        let named = extensions.get();
        match (self.judge(uri, named), named) {
            (Verdict::Secure, Some(named)) => self.tokens.peek_for(named),
            (Verdict::Secure, None) => self.tokens.peek(at_hand),
            (Verdict::Foreign | Verdict::Insecure, _) => None,
        }
    }

    /// Whether a request to `uri` is sent a token for `credentials`.
    #[inline]
    pub(crate) fn judge(&self, uri: &Uri, credentials: Option<&ClientCredentials>) -> Verdict {
        let verdict = match self.origins.judge(uri) {
            Verdict::Insecure if self.allow_http => Verdict::Secure,
            verdict => verdict,
        };
        let narrower = match credentials {
            None => self.narrower.as_ref(),
            Some(credentials) => credentials.allowed_origins(),
        };
        match narrower {
            Some(narrower) if !narrower.contains(uri) => Verdict::Foreign,
            _ => verdict,
        }
    }

    /// As [`decorate`](Self::decorate), but inlined: worth it where nothing is cloned. It is so
    /// while there is one call of it only, since nobody inlines `HeaderMap::insert` twice.
    #[inline]
    pub(crate) fn decorate_inline(&self, headers: &mut HeaderMap, token: &HeaderValue) {
        match self.header {
            None => drop(headers.insert(AUTHORIZATION, token.clone())),
            Some(_) => self.decorate(headers, token),
        };
    }

    #[inline(never)]
    pub(crate) fn decorate(&self, headers: &mut HeaderMap, token: &HeaderValue) {
        match &self.header {
            None => headers.insert(AUTHORIZATION, token.clone()),
            Some(name) => headers.insert(name, token.clone()),
        };
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("tokens", &self.tokens)
            .field("origins", &self.origins)
            .field("policy", &self.policy)
            .field("header", self.header.as_ref().unwrap_or(&AUTHORIZATION))
            .finish_non_exhaustive()
    }
}
