//! What to ask for, as data.

mod identity;
pub(crate) mod request;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::Uri;
use zeroize::Zeroizing;

use crate::client_auth::{ClientAuth, ClientAuthentication, TokenRequestParts};
use crate::error::ConfigError;
#[cfg(feature = "jwt")]
use crate::jwt::DpopKey;
use crate::protocol::dpop::BindingKey;
use crate::protocol::origin::{Origin, parse_absolute};
use crate::protocol::origins::Origins;
use crate::protocol::server_clock::ServerClocks;
use crate::refresh_token::RefreshToken;
use crate::secret;
use crate::util::limits::MAX_LIFETIME;

/// What to ask for: which token endpoint, as whom, and for what (RFC 6749 section 4.4).
///
/// Cheap to clone. Two are equal when everything that makes the token what it is is equal:
/// endpoint, client id, authentication method and secret, scope (as a set), audience, resources, all extra parameters, and
/// the key that tokens are bound to, and the name of a refresh token. A cache keeps one token for each.
///
/// Put into a request's [extensions](http::Request::extensions), it takes the place of the cache's
/// own credentials for that request, at every [`OAuth2Layer`](crate::OAuth2Layer) that it passes; see [`NoToken`](crate::NoToken) for what a redirect does to them.
///
/// `Debug` shows endpoint and authentication method, and redacts the rest.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower_oauth2::{ClientAuth, Credentials};
///
/// let credentials = Credentials::new(
///     "https://auth.example.com/oauth/token",
///     ClientAuth::client_secret_basic("client-id", "s3cr3t"),
/// )?
/// .scope("read write")
/// .audience("https://api.example.com/my-api/")
/// .default_expires_in(Duration::from_secs(86_400));
///
/// assert_eq!(credentials, credentials.clone().scope("write read"));
/// # Ok::<(), tower_oauth2::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Credentials {
    // What is asked of them for each request that names them is here, and not where the rest is: when there are
    // thousands, that is seldom in the processor's cache.
    /// Of the identity.
    fingerprint: u64,
    origins: Option<Origins>,
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    endpoint: Uri,
    /// As it was given.
    endpoint_text: Box<str>,
    endpoint_origin: Origin,
    auth: ClientAuth,
    scope: Vec<Box<str>>,
    audience: Option<Box<str>>,
    resources: Vec<Box<str>>,
    parameters: Vec<(Box<str>, Zeroizing<String>)>,
    default_expires_in: Option<Duration>,
    dpop: Option<Arc<dyn BindingKey>>,
    refresh_token: Option<RefreshToken>,
    /// Not part of what makes credentials equal. Other credentials never share it.
    server_clocks: ServerClocks,
    /// What `auth` says makes the client who it is.
    client: Zeroizing<Vec<u8>>,
    /// Everything that makes the token what it is, in one canonical spelling.
    identity: Zeroizing<Vec<u8>>,
}

/// RFC 6749 section 4.4.2
pub(crate) const CLIENT_CREDENTIALS: &str = "client_credentials";

/// RFC 6749 section 6: the grant's type, and its parameter.
const REFRESH_TOKEN: &str = "refresh_token";

/// Keyed at random, so that tenants can not choose credentials that collide.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl Credentials {
    /// Credentials for the token endpoint at `endpoint`. Its query is kept and sent.
    ///
    /// # Errors
    ///
    /// An endpoint that is not an absolute URI or has user information or a fragment (RFC 6749
    /// section 3.2), and a client id that is empty.
    pub fn new(endpoint: impl AsRef<str>, auth: ClientAuth) -> Result<Self, ConfigError> {
        const ENDPOINT: &str = "token endpoint";
        let endpoint_text = endpoint.as_ref().into();
        let endpoint = parse_absolute(endpoint.as_ref(), ENDPOINT)?;
        let endpoint_origin =
            Origin::of(&endpoint).ok_or(ConfigError::new(ENDPOINT, "needs a scheme and a host"))?;
        if auth.client_id() == Some("") {
            return Err(ConfigError::new("client id", "is empty"));
        }
        let client = Zeroizing::new(auth.identity());
        let inner = Arc::new(Inner {
            endpoint,
            endpoint_text,
            endpoint_origin,
            auth,
            scope: Vec::new(),
            audience: None,
            resources: Vec::new(),
            parameters: Vec::new(),
            default_expires_in: None,
            dpop: None,
            refresh_token: None,
            server_clocks: ServerClocks::default(),
            client,
            identity: Zeroizing::default(),
        });
        Ok(Self { fingerprint: 0, origins: None, inner }.edit(|_| {}))
    }

    /// Sets the scope of the token: names with spaces between them, in any order (RFC 6749 section
    /// 3.3). Repeated names count once.
    #[must_use]
    pub fn scope(self, scope: impl AsRef<str>) -> Self {
        let mut seen = HashSet::new();
        let names = scope.as_ref().split_ascii_whitespace();
        let names = names.filter(|name| seen.insert(*name)).map(Box::from).collect();
        self.edit(|inner| inner.scope = names)
    }

    /// For which API the token is meant, as Auth0 and others want it (`audience`). An empty one is
    /// left out.
    #[must_use]
    pub fn audience(self, audience: impl Into<String>) -> Self {
        let audience = audience.into();
        self.edit(|inner| inner.audience = (!audience.is_empty()).then(|| audience.into()))
    }

    /// A resource for which the token is meant, beside those that were named before (`resource`,
    /// RFC 8707 section 2). An empty one is left out.
    #[must_use]
    pub fn resource(self, resource: impl Into<String>) -> Self {
        let resource = resource.into().into_boxed_str();
        self.edit(|inner| {
            if !resource.is_empty() && !inner.resources.contains(&resource) {
                inner.resources.push(resource);
            }
        })
    }

    /// A further parameter of the token request, in the place of any other of this name. An empty
    /// one is left out.
    #[must_use]
    pub fn parameter(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let name = name.into().into_boxed_str();
        let value = Zeroizing::new(value.into());
        self.edit(|inner| {
            inner.parameters.retain(|(known, _)| *known != name);
            if !value.is_empty() {
                inner.parameters.push((name, value));
            }
        })
    }

    /// How long a token lives when the response does not say so (`expires_in`, RFC 6749 section
    /// 5.1), cut to a year. Without it, such a token is valid until it is rejected.
    ///
    /// It plays no part in whether credentials are equal: among equal ones, those that a cache saw first
    /// decide.
    #[must_use]
    pub fn default_expires_in(self, default_expires_in: Duration) -> Self {
        self.edit(|inner| inner.default_expires_in = Some(default_expires_in.min(MAX_LIFETIME)))
    }

    /// To which of the layer's origins tokens for these credentials may be sent; all of them
    /// unless set.
    #[must_use]
    pub fn origins(self, origins: Origins) -> Self {
        Self { origins: Some(origins), ..self }
    }

    /// Tokens are to be bound to `key` and go with a proof of it (DPoP, RFC 9449). A server that answers with a Bearer
    /// token all the same is an error.
    #[cfg(feature = "jwt")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwt")))]
    #[must_use]
    pub fn dpop(self, key: DpopKey) -> Self {
        self.edit(|inner| inner.dpop = Some(Arc::new(key)))
    }

    /// Tokens are those of a user who has granted this client a refresh token (RFC 6749 section 6). A
    /// [`RefreshTokenLayer`](crate::source::RefreshTokenLayer) has to be around the token endpoint; without it, token requests fail
    /// before anything is sent; so they do together with a [token exchange](Self::token_exchange) or any other grant.
    #[must_use]
    pub fn refresh_token(self, refresh_token: RefreshToken) -> Self {
        self.edit(|inner| inner.refresh_token = Some(refresh_token))
    }

    /// The token endpoint's URI.
    pub fn token_endpoint(&self) -> &Uri {
        &self.inner.endpoint
    }

    /// How the client authenticates.
    pub fn client_auth(&self) -> &ClientAuth {
        &self.inner.auth
    }

    /// The client's id, if the authentication method knows it.
    pub fn client_id(&self) -> Option<&str> {
        self.inner.auth.client_id()
    }

    /// The names in the scope, in the order in which they were given.
    pub fn scope_names(&self) -> impl Iterator<Item = &str> {
        self.inner.scope.iter().map(|name| &**name)
    }

    /// The parameters of the token request other than those that authenticate the client: for
    /// sources of one's own. A refresh token is not among them.
    pub fn parameters(&self) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
        let inner = &*self.inner;
        let grant_type =
            if inner.refresh_token.is_some() { REFRESH_TOKEN } else { CLIENT_CREDENTIALS };
        let mut all: Vec<(Cow<'_, str>, Cow<'_, str>)> =
            vec![("grant_type".into(), grant_type.into())];
        if !inner.scope.is_empty() {
            all.push(("scope".into(), inner.scope.join(" ").into()));
        }
        if let Some(audience) = &inner.audience {
            all.push(("audience".into(), (&**audience).into()));
        }
        for resource in &inner.resources {
            all.push(("resource".into(), (&**resource).into()));
        }
        for (name, value) in &inner.parameters {
            all.retain(|(known, _)| known != &**name);
            all.push(((&**name).into(), value.as_str().into()));
        }
        all
    }

    /// Several parameters at once; as with [`parameter`](Self::parameter), an empty one takes away what was set.
    pub(crate) fn with_parameters<const N: usize>(
        self,
        parameters: [(&'static str, Zeroizing<String>); N],
    ) -> Self {
        self.edit(|inner| {
            for (name, value) in parameters {
                inner.parameters.retain(|(known, _)| **known != *name);
                if !value.is_empty() {
                    inner.parameters.push((name.into(), value));
                }
            }
        })
    }

    pub(crate) fn refresh_token_to_use(&self) -> Option<&RefreshToken> {
        self.inner.refresh_token.as_ref()
    }

    /// Whether a type of grant is set as a parameter that is not the refresh token's, as a token exchange does.
    pub(crate) fn has_another_grant(&self) -> bool {
        let mut parameters = self.inner.parameters.iter();
        parameters.any(|(name, value)| &**name == "grant_type" && **value != REFRESH_TOKEN)
    }

    /// Returns the credentials for a request with the refresh token as it is now.
    pub(crate) fn with_present_refresh_token(mut self, refresh_token: &str) -> Self {
        let server_clocks = self.inner.server_clocks.clone();
        Arc::make_mut(&mut self.inner).refresh_token = None;
        let refresh_token = Zeroizing::new(refresh_token.to_owned());
        let grant_type = Zeroizing::new(REFRESH_TOKEN.to_owned());
        let mut present =
            self.with_parameters([("grant_type", grant_type), (REFRESH_TOKEN, refresh_token)]);
        // The refresh token is another one after each exchange, and the clocks stay.
        Arc::make_mut(&mut present.inner).server_clocks = server_clocks;
        present
    }

    /// Another number whenever a secret is another one: a permanent failure is remembered for a version.
    pub(crate) fn version(&self) -> u64 {
        let auth = self.inner.auth.version();
        match &self.inner.refresh_token {
            None => auth,
            Some(refresh_token) => {
                let mut both = DefaultHasher::new();
                (auth, refresh_token.version()).hash(&mut both);
                both.finish()
            }
        }
    }

    /// Returns the version after a look at the files that it depends on.
    pub(crate) async fn current_version(&self) -> u64 {
        secret::version::current(|| self.version()).await
    }

    pub(crate) fn token_endpoint_origin(&self) -> &Origin {
        &self.inner.endpoint_origin
    }

    pub(crate) fn allowed_origins(&self) -> Option<&Origins> {
        self.origins.as_ref()
    }

    pub(crate) fn dpop_key(&self) -> Option<&dyn BindingKey> {
        self.inner.dpop.as_deref()
    }

    /// Returns the clock offsets of the servers that these credentials are used with.
    pub(crate) fn server_clocks(&self) -> &ServerClocks {
        &self.inner.server_clocks
    }

    pub(crate) fn lifetime_unless_told(&self) -> Option<Duration> {
        self.inner.default_expires_in
    }

    /// The token request, less what authenticates the client.
    pub(crate) fn to_parts(&self) -> TokenRequestParts {
        let mut parts =
            TokenRequestParts::named(self.inner.endpoint.clone(), &self.inner.endpoint_text);
        for (name, value) in self.parameters() {
            parts.add_parameter(name.into_owned().into(), Zeroizing::new(value.into_owned()));
        }
        parts
    }

    /// One number for equal credentials, in this process.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Everything that makes the token what it is, the secret among it, in one canonical spelling.
    pub(crate) fn identity(&self) -> &[u8] {
        &self.inner.identity
    }

    fn edit(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        let inner = Arc::make_mut(&mut self.inner);
        change(inner);
        inner.server_clocks = ServerClocks::default();
        inner.identity = inner.canonical();
        self.fingerprint = HASHER.hash_one(&**inner.identity);
        self
    }
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
            || (self.fingerprint == other.fingerprint
                && self.inner.identity == other.inner.identity)
    }
}

impl Eq for Credentials {}

impl Hash for Credentials {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.fingerprint());
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("token_endpoint", &self.inner.endpoint_origin)
            .field("auth", &self.inner.auth)
            .finish_non_exhaustive()
    }
}
