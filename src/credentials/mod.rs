//! Describes which token to request.

mod accessors;
mod authorization_details;
mod description;
mod doubts;
pub(crate) mod grant;
mod parameters;
pub(crate) mod request;
mod server;

use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use zeroize::Zeroizing;

use self::description::Description;
use self::grant::Grant;
pub(crate) use self::server::{EndpointUri, IssuerUri, Server};
use crate::client_auth::{ClientAuth, ClientAuthentication};
use crate::error::ConfigError;
#[cfg(feature = "jwt")]
use crate::jwt::DpopKey;
use crate::protocol::server_clock::ServerClocks;
use crate::util::invisible::fault_of_text;
use crate::util::limits::MAX_LIFETIME;

/// Describes which token to request: its token endpoint, client, grant and scope.
///
/// A clone is cheap. Credentials are equal if everything that distinguishes the token is equal: the
/// token endpoint, the issuer if its metadata are used, the client and its
/// [authentication](ClientAuth), the [grant](Self::grant), the scope (as a set), audiences,
/// resources, authorization details, other parameters, and the key that the token is bound to. A
/// cache keeps one token for equal credentials. They are compared by a SHA-256 digest, which
/// contains no secret.
///
/// Pass them to [`Tokens::new`](crate::Tokens::new) or to
/// [`TokenCache::tokens`](crate::TokenCache::tokens).
///
/// `Debug` shows the token endpoint's origin, the authentication method and the label.
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
    // The fields that each request needs are here and not in `description`, which is seldom in the
    // processor's cache if there are thousands of credentials.
    /// A hash of the digest.
    fingerprint: u64,
    description: Arc<Description>,
}

impl Credentials {
    /// Creates credentials for the token endpoint at `token_endpoint`.
    ///
    /// The query of the URI is kept and sent.
    ///
    /// # Errors
    ///
    /// Returns an error if the endpoint is not an absolute URI or has user information or a
    /// fragment (RFC 6749 section 3.2), if the client id is empty or has control characters or a
    /// byte order mark, and if the settings of the client authentication cannot work: a secret that
    /// is empty, ends in a line break or begins with a byte order mark, for example.
    #[doc(alias("token_url", "token endpoint"))]
    pub fn new(token_endpoint: impl AsRef<str>, auth: ClientAuth) -> Result<Self, ConfigError> {
        let endpoint = EndpointUri::parse(token_endpoint.as_ref())?;
        Self::for_server(Server::TokenEndpoint(endpoint.into()), auth)
    }

    /// Creates credentials for the token endpoint in the metadata of `issuer` (RFC 8414).
    ///
    /// A [`TokenEndpoint`](crate::TokenEndpoint) fetches the metadata before the first token
    /// request, over the same HTTP client, and the credentials keep the endpoint. Clones and edited
    /// copies share it. If the metadata cannot be fetched or used, the token request fails with the
    /// errors of [`MetadataBuilder::fetch`](crate::metadata::MetadataBuilder::fetch).
    ///
    /// If the token endpoint later answers with `invalid_client`, 404 or 410, the server may have
    /// changed. The metadata are then fetched again, at most once a minute. If they name another
    /// endpoint, or another method for a [secret](ClientAuth::client_secret), the token request is
    /// sent once more. Otherwise its own error is returned.
    ///
    /// The metadata are requested at the well-known addresses of the issuer only. For a document at
    /// an internal address, use [`Metadata::fetch_at`](crate::metadata::Metadata::fetch_at), whose
    /// credentials keep the endpoint that was found at the start.
    ///
    /// # Errors
    ///
    /// Returns an error if the issuer is not an absolute URI, has user information, a query or a
    /// fragment, or uses neither `https` nor a loopback address. Returns an error too if the client
    /// id is invalid, or if the settings of the client authentication cannot work, as
    /// [`new`](Self::new) does.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_oauth2::{ClientAuth, Credentials};
    ///
    /// let auth = ClientAuth::client_secret_basic("client-id", "s3cr3t");
    /// let credentials = Credentials::from_issuer("https://auth.example.com", auth)?.scope("read");
    /// assert_eq!(credentials.token_endpoint(), None);
    /// # Ok::<(), tower_oauth2::ConfigError>(())
    /// ```
    #[doc(alias("discovery", "well-known", "openid-configuration", "OIDC"))]
    #[doc(alias("OpenID Connect", "RFC 8414"))]
    pub fn from_issuer(issuer: impl AsRef<str>, auth: ClientAuth) -> Result<Self, ConfigError> {
        let issuer = IssuerUri::parse(issuer.as_ref())?;
        Self::for_server(Server::Issuer(issuer), auth)
    }

    /// Creates credentials for a custom source of tokens.
    ///
    /// They are equal if their names are equal. The name appears in errors, events and `Debug`, so
    /// it must not be a secret. The credentials have no token endpoint. A
    /// [`TokenEndpoint`](crate::TokenEndpoint) answers them with
    /// [`TokenErrorKind::NoTokenEndpoint`](crate::TokenErrorKind::NoTokenEndpoint).
    ///
    /// # Example
    ///
    /// ```
    /// use tower_oauth2::Credentials;
    ///
    /// let credentials = Credentials::named("installation 17");
    /// assert_ne!(credentials, Credentials::named("installation 18"));
    /// ```
    pub fn named(name: impl Into<String>) -> Self {
        Self::build(Server::Custom(name.into().into()), ClientAuth::anonymous())
    }

    /// Creates credentials for a token endpoint that an issuer's metadata names.
    pub(crate) fn from_metadata(
        endpoint: EndpointUri,
        auth: ClientAuth,
    ) -> Result<Self, ConfigError> {
        Self::for_server(Server::TokenEndpoint(endpoint.into()), auth)
    }

    fn for_server(server: Server, auth: ClientAuth) -> Result<Self, ConfigError> {
        const CLIENT_ID: &str = "client id";
        match auth.client_id() {
            Some("") => return Err(ConfigError::new(CLIENT_ID, "is empty")),
            Some(client_id) => ConfigError::check(CLIENT_ID, fault_of_text(client_id))?,
            None => {}
        }
        auth.check()?;
        Ok(Self::build(server, auth))
    }

    fn build(server: Server, auth: ClientAuth) -> Self {
        let description = Arc::new(Description::new(server, auth));
        Self { fingerprint: 0, description }.edit(|_| {})
    }

    /// Sets the grant, which is the client credentials grant by default.
    #[must_use]
    pub fn grant(self, grant: impl Into<Grant>) -> Self {
        let grant = grant.into();
        self.edit(|description| description.set_grant(grant))
    }

    /// Sets the scope of the token (RFC 6749 section 3.3).
    ///
    /// It consists of names with spaces between them, in any order. Repeated names count once.
    #[doc(alias = "scopes")]
    #[must_use]
    pub fn scope(self, scope: impl AsRef<str>) -> Self {
        let mut seen = HashSet::new();
        let names = scope.as_ref().split_ascii_whitespace();
        let names = names.filter(|name| seen.insert(*name)).map(Box::from).collect();
        self.edit(|description| description.scope = names)
    }

    /// Adds an audience of the token (parameter `audience`).
    ///
    /// Auth0 and other servers require it, and RFC 8693 allows several. An empty text is left out.
    #[doc(alias = "aud")]
    #[must_use]
    pub fn audience(self, audience: impl Into<String>) -> Self {
        let audience = audience.into().into_boxed_str();
        self.edit(|description| add_new(&mut description.audiences, audience))
    }

    /// Adds a resource that the token is for (`resource`, RFC 8707 section 2).
    ///
    /// An empty text is left out.
    #[doc(alias("resource indicator", "RFC 8707"))]
    #[must_use]
    pub fn resource(self, resource: impl Into<String>) -> Self {
        let resource = resource.into().into_boxed_str();
        self.edit(|description| add_new(&mut description.resources, resource))
    }

    /// Sets in detail what the token authorizes (`authorization_details`, RFC 9396 section 2).
    ///
    /// `details` is a JSON array of objects, each of which has a `type`. It is sent as JSON text,
    /// with sorted members. An empty array removes details that were set before.
    ///
    /// # Errors
    ///
    /// Returns an error if `details` is not such an array.
    ///
    /// # Example
    ///
    /// ```
    /// use serde_json::json;
    /// use tower_oauth2::{ClientAuth, Credentials};
    ///
    /// let auth = ClientAuth::client_secret_basic("client-id", "s3cr3t");
    /// let credentials = Credentials::new("https://auth.example.com/token", auth)?
    ///     .authorization_details(json!([{
    ///         "type": "account_information",
    ///         "actions": ["list_accounts", "read_balances"],
    ///     }]))?;
    /// # let _ = credentials;
    /// # Ok::<(), tower_oauth2::ConfigError>(())
    /// ```
    #[doc(alias("rich authorization requests", "RAR", "RFC 9396"))]
    pub fn authorization_details(self, details: impl Into<Value>) -> Result<Self, ConfigError> {
        let details = authorization_details::to_text(details.into())?;
        Ok(self.edit(|description| description.authorization_details = details))
    }

    /// Sets another parameter of the token request.
    ///
    /// It replaces all other parameters of this name. An empty value removes a parameter that was
    /// set before.
    #[doc(alias("extra_param", "additional parameter", "form parameter"))]
    #[must_use]
    pub fn parameter(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let name = name.into().into_boxed_str();
        let value = Zeroizing::new(value.into());
        self.edit(|description| {
            description.parameters.retain(|(known, _)| *known != name);
            if !value.is_empty() {
                description.parameters.push((name, value));
            }
        })
    }

    /// Sets the lifetime of tokens whose response has no `expires_in` (RFC 6749 section 5.1).
    ///
    /// The maximum is a year. By default, such a token is valid until it is rejected.
    ///
    /// It does not affect whether credentials are equal. A cache uses the value of the first of
    /// several equal credentials.
    #[doc(alias("lifetime", "TTL"))]
    #[must_use]
    pub fn default_expires_in(self, default_expires_in: Duration) -> Self {
        self.edit(|description| {
            description.default_expires_in = Some(default_expires_in.min(MAX_LIFETIME))
        })
    }

    /// Sets a label that names the credentials in traces and errors.
    ///
    /// [`TokenCacheBuilder::metric_labels`](crate::cache::TokenCacheBuilder::metric_labels) adds it
    /// to metrics too. An empty label removes it.
    ///
    /// It does not affect whether credentials are equal. A cache uses the label of the first of
    /// several equal credentials.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        let label: Arc<str> = label.into().into();
        Arc::make_mut(&mut self.description).label = Some(label).filter(|label| !label.is_empty());
        self
    }

    #[cfg(not(feature = "jwt"))]
    #[doc(hidden)]
    #[must_use]
    pub fn dpop<K: crate::client_auth::NeedsJwt>(self, key: K) -> Self {
        key.never()
    }

    /// Binds tokens to `key` with DPoP (RFC 9449).
    ///
    /// Each request to the token endpoint and to an API carries a proof of possession of the key. A
    /// token request fails if the server answers with a Bearer token.
    #[doc(alias("proof of possession", "sender-constrained", "RFC 9449"))]
    #[cfg(feature = "jwt")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwt")))]
    #[must_use]
    pub fn dpop(self, key: DpopKey) -> Self {
        self.edit(|description| description.dpop = Some(Arc::new(key)))
    }

    fn edit(mut self, change: impl FnOnce(&mut Description)) -> Self {
        let description = Arc::make_mut(&mut self.description);
        change(description);
        // Other credentials do not share the clock offsets.
        description.server_clocks = ServerClocks::default();
        self.fingerprint = description.update_digest();
        self
    }
}

fn add_new(all: &mut Vec<Box<str>>, text: Box<str>) {
    if !text.is_empty() && !all.contains(&text) {
        all.push(text);
    }
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.description, &other.description)
            || (self.fingerprint == other.fingerprint
                && self.description.digest == other.description.digest)
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
        let mut debug = f.debug_struct("Credentials");
        match &self.description.server {
            Server::TokenEndpoint(endpoint) => debug.field("token_endpoint", endpoint.origin()),
            Server::Issuer(issuer) => debug.field("issuer", issuer.origin()),
            Server::Custom(name) => debug.field("name", name),
        };
        if let Some(label) = &self.description.label {
            debug.field("label", label);
        }
        debug.field("auth", &self.description.auth).finish_non_exhaustive()
    }
}
