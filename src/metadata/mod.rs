//! Fetches the metadata of authorization servers (RFC 8414, OpenID Connect Discovery 1.0).
//!
//! To get tokens from an issuer, [`Credentials::from_issuer`](crate::Credentials::from_issuer) is
//! enough. [`Metadata`] is for programs that read the metadata themselves. [`MetadataBuilder`] has
//! the settings of a fetch, and [`WellKnown`] names the two documents.

mod document;
mod fetch;
mod lists;

use std::fmt;
use std::sync::Arc;

use http::Uri;

use serde_json::Value;

pub use self::fetch::MetadataBuilder;
use self::lists::{AUTH_ALGORITHMS, AUTH_METHODS, DPOP, GRANT_TYPES, LISTS, SCOPES, TextList};
use crate::client_auth::{CLIENT_SECRET, ClientAuth, ClientAuthentication};
use crate::credentials::{Credentials, EndpointUri};
use crate::error::{ConfigError, TokenError, TokenErrorKind};
use crate::protocol::http_client::HttpClient;
use crate::protocol::json::{self, value};
use crate::protocol::origin::Origin;

// Rustdoc's search finds an alias at a `pub use`, and not at a definition in a private module.
#[doc(alias(".well-known", "discovery"))]
pub use self::fetch::WellKnown;

/// Holds the metadata of an authorization server, such as its token endpoint.
///
/// The issuer publishes it at a well-known URI (RFC 8414, OpenID Connect Discovery 1.0). It is
/// fetched once and never refreshed, so fetch it again when the credentials that use it are
/// renewed. A clone is cheap.
///
/// # Trust
///
/// The document says where client secrets are sent. The issuer must therefore come from
/// configuration, and the document is fetched over TLS. A document with another `issuer` is an
/// error, even if only a slash at its end differs (RFC 8414 section 3.3). The token endpoint must
/// use TLS, but may be on another host than the issuer, because some providers use two hosts. To
/// prevent that, list the endpoints with
/// [`TokenEndpoint::allowed_endpoints`](crate::TokenEndpoint::allowed_endpoints). List them too if
/// the issuer comes from another party.
///
/// # Example
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{BoxError, service_fn};
/// use tower_oauth2::{ClientAuth, TokenEndpoint, Tokens};
/// use tower_oauth2::metadata::Metadata;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// // Instead of a hyper client:
/// let http = service_fn(|request: Request<Full<Bytes>>| async move {
///     assert_eq!(request.uri(), "https://auth.example.com/.well-known/oauth-authorization-server");
///     let body = r#"{
///         "issuer": "https://auth.example.com",
///         "token_endpoint": "https://auth.example.com/token"
///     }"#;
///     Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(body)))
/// });
///
/// let metadata = Metadata::fetch("https://auth.example.com", http.clone()).await?;
/// let credentials = metadata
///     .credentials(ClientAuth::client_secret_basic("client-id", "s3cr3t"))?
///     .scope("read");
/// assert_eq!(credentials.token_endpoint().unwrap(), "https://auth.example.com/token");
///
/// let source = TokenEndpoint::new(http).allowed_endpoints(["https://auth.example.com/token"])?;
/// let tokens = Tokens::new(credentials, source);
/// # let _ = tokens;
/// # Ok(())
/// # }
/// ```
#[doc(alias("discovery", "well-known", "openid-configuration"))]
#[doc(alias("oauth-authorization-server", "OIDC", "OpenID Connect"))]
#[doc(alias = "RFC 8414")]
#[derive(Clone)]
pub struct Metadata(Arc<MetadataContents>);

struct MetadataContents {
    issuer: String,
    token_endpoint: Endpoint,
    /// `token_endpoint` of `mtls_endpoint_aliases`.
    mtls_token_endpoint: Option<Endpoint>,
    introspection_endpoint: Option<Uri>,
    revocation_endpoint: Option<Uri>,
    /// The lists, in the order of [`LISTS`].
    lists: [TextList; LISTS.len()],
    /// The JSON text.
    ///
    /// A tree of the same values can take a hundred times as much memory.
    document: Box<[u8]>,
}

/// An endpoint to which secrets may be sent.
struct Endpoint {
    uri: Uri,
    /// The exact text in the document.
    ///
    /// The server compares the `aud` of an assertion with it.
    text: String,
}

/// The registered methods, which a server can list (RFC 7591 section 4.2.2).
///
/// `none` is missing, because Keycloak and others take public clients without listing it.
const REGISTERED_METHODS: &[&str] = &[
    "client_secret_basic",
    "client_secret_jwt",
    "client_secret_post",
    "private_key_jwt",
    "self_signed_tls_client_auth",
    "tls_client_auth",
];

impl Metadata {
    /// Fetches the metadata of `issuer` over `http`, with the default settings.
    ///
    /// # Errors
    ///
    /// Returns a [`TokenError`] if the issuer is not a valid URI, if a secret would be sent in
    /// clear text, if the document is invalid or belongs to another issuer, or if no response
    /// arrives. [`MetadataBuilder::fetch`] lists the kinds. An invalid issuer is
    /// [`TokenErrorKind::InvalidIssuer`].
    pub async fn fetch<M>(
        issuer: impl AsRef<str>,
        http: impl HttpClient<M>,
    ) -> Result<Self, TokenError> {
        let builder = Self::builder(issuer).map_err(invalid_issuer)?;
        builder.fetch(http).await
    }

    /// Fetches the metadata of `issuer` from the address `document`, with the default settings.
    ///
    /// Use it if the server has an internal address beside its public issuer, as is common in
    /// Kubernetes. The document must name exactly the issuer. Plain HTTP to another machine needs
    /// [`MetadataBuilder::dangerously_allow_http`].
    ///
    /// # Errors
    ///
    /// Returns a [`TokenError`] if the issuer or the address is not a valid URI, if a secret would
    /// be sent in clear text, if the document is invalid or belongs to another issuer, or if no
    /// response arrives. [`MetadataBuilder::fetch`] lists the kinds. An invalid issuer or address
    /// is [`TokenErrorKind::InvalidIssuer`].
    pub async fn fetch_at<M>(
        document: impl AsRef<str>,
        issuer: impl AsRef<str>,
        http: impl HttpClient<M>,
    ) -> Result<Self, TokenError> {
        let builder = Self::builder(issuer).and_then(|builder| builder.document(document));
        builder.map_err(invalid_issuer)?.fetch(http).await
    }

    /// Creates a builder for fetching the metadata of `issuer`.
    ///
    /// # Errors
    ///
    /// Returns an error if the issuer is not an absolute `https` or `http` URI, or has user
    /// information, a query or a fragment (RFC 8414 section 2).
    pub fn builder(issuer: impl AsRef<str>) -> Result<MetadataBuilder, ConfigError> {
        MetadataBuilder::new(issuer.as_ref())
    }

    /// Creates credentials for the token endpoint, with this authentication.
    ///
    /// [`tls_client_auth`](ClientAuth::tls_client_auth) and
    /// [`self_signed_tls_client_auth`](ClientAuth::self_signed_tls_client_auth) get the
    /// [endpoint for mutual TLS](Self::mtls_token_endpoint), if there is one. The issuer is part of
    /// the identity, so they differ from those of [`Credentials::new`] for the same endpoint.
    ///
    /// # Errors
    ///
    /// Returns an error if the server lists its methods and this one is not among them, if the
    /// client id is invalid, or if the settings of the method cannot work, such as an empty secret.
    ///
    /// - `client_secret_basic_raw` counts as `client_secret_basic`.
    /// - [`ClientAuth::client_secret`] is the one of `client_secret_basic` and `client_secret_post`
    ///   that the server lists.
    /// - `none` is accepted, because many servers take public clients without listing it.
    /// - A custom method whose name is not registered is accepted, because no server can list it.
    ///
    /// If the list of a server is wrong, use [`Credentials::new`] with
    /// [`token_endpoint`](Self::token_endpoint), which does not check the list.
    pub fn credentials(&self, auth: ClientAuth) -> Result<Credentials, ConfigError> {
        Credentials::from_metadata(self.endpoint_for(auth.method())?, auth)
    }

    /// Returns the token endpoint for this authentication method, if the server supports it.
    pub(crate) fn endpoint_for(&self, method: &str) -> Result<EndpointUri, ConfigError> {
        const BASIC: &str = "client_secret_basic";
        const POST: &str = "client_secret_post";

        let supports = |method: &str| {
            let mut listed = self.list(AUTH_METHODS).peekable();
            listed.peek().is_none() || listed.any(|listed| listed == method)
        };
        let registered = match method {
            CLIENT_SECRET if supports(POST) && !supports(BASIC) => POST,
            CLIENT_SECRET | "client_secret_basic_raw" => BASIC,
            method => method,
        };
        if REGISTERED_METHODS.contains(&registered) && !supports(registered) {
            let problem = "must be one of the server's token_endpoint_auth_methods_supported";
            return Err(ConfigError::new("client authentication", problem).with_value(method));
        }
        let endpoint = match (&self.0.mtls_token_endpoint, method) {
            (Some(endpoint), "tls_client_auth" | "self_signed_tls_client_auth") => endpoint,
            _ => &self.0.token_endpoint,
        };
        let endpoint = EndpointUri::from_metadata(&self.0.issuer, &endpoint.text)?;
        Ok(endpoint.with_secret_in_form(registered == POST))
    }

    /// Returns the issuer as it was configured.
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// Returns the URI of the token endpoint.
    pub fn token_endpoint(&self) -> &Uri {
        &self.0.token_endpoint.uri
    }

    /// Returns the token endpoint for clients with a certificate.
    ///
    /// It is `token_endpoint` in `mtls_endpoint_aliases` (RFC 8705 section 5). Use it also for
    /// certificate-bound tokens with any other client authentication.
    #[doc(alias("mTLS", "mtls_endpoint_aliases", "RFC 8705"))]
    pub fn mtls_token_endpoint(&self) -> Option<&Uri> {
        self.0.mtls_token_endpoint.as_ref().map(|endpoint| &endpoint.uri)
    }

    /// Returns the introspection endpoint (RFC 7662).
    ///
    /// Returns `None` if there is none, or if its URI would not be valid for a token endpoint.
    pub fn introspection_endpoint(&self) -> Option<&Uri> {
        self.0.introspection_endpoint.as_ref()
    }

    /// Returns the revocation endpoint (RFC 7009).
    ///
    /// Returns `None` if there is none, or if its URI would not be valid for a token endpoint.
    pub fn revocation_endpoint(&self) -> Option<&Uri> {
        self.0.revocation_endpoint.as_ref()
    }

    /// Returns the supported methods of client authentication at the token endpoint.
    ///
    /// The default is `client_secret_basic` (RFC 8414 section 2).
    pub fn token_endpoint_auth_methods_supported(&self) -> impl Iterator<Item = &str> {
        self.list_or(AUTH_METHODS, &["client_secret_basic"])
    }

    /// Returns the signature algorithms for client authentication with JWTs.
    ///
    /// They are not checked, so that `none` may be among them.
    pub fn token_endpoint_auth_signing_alg_values_supported(&self) -> impl Iterator<Item = &str> {
        self.list(AUTH_ALGORITHMS)
    }

    /// Returns the supported grant types.
    ///
    /// The default is `authorization_code` and `implicit` (RFC 8414 section 2). Many servers
    /// support `client_credentials` without listing it.
    pub fn grant_types_supported(&self) -> impl Iterator<Item = &str> {
        self.list_or(GRANT_TYPES, &["authorization_code", "implicit"])
    }

    /// Returns the supported scope values.
    ///
    /// A server may omit some.
    pub fn scopes_supported(&self) -> impl Iterator<Item = &str> {
        self.list(SCOPES)
    }

    /// Returns the signature algorithms for DPoP proofs (RFC 9449 section 5.1).
    ///
    /// The list is empty if the server does not support DPoP.
    pub fn dpop_signing_alg_values_supported(&self) -> impl Iterator<Item = &str> {
        self.list(DPOP)
    }

    /// Returns any member of the document as the server sent it, unchecked.
    ///
    /// Each call parses the document, of which only the text is kept.
    pub fn get(&self, name: &str) -> Option<Value> {
        value(&json::members(&self.0.document)?, name)
    }

    /// Returns the strings in an array. An empty list counts as absent (RFC 8414 section 3.2).
    fn list(&self, name: &str) -> impl Iterator<Item = &str> + use<'_> {
        let at = LISTS.iter().position(|known| *known == name);
        at.into_iter().flat_map(|at| self.0.lists[at].iter())
    }

    fn list_or(
        &self,
        name: &str,
        default: &'static [&'static str],
    ) -> impl Iterator<Item = &str> + use<'_> {
        let mut listed = self.list(name).peekable();
        let default = if listed.peek().is_none() { default } else { &[] };
        listed.chain(default.iter().copied())
    }
}

pub(crate) fn invalid_issuer(error: ConfigError) -> TokenError {
    TokenError::with_source(TokenErrorKind::InvalidIssuer, error.into())
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata")
            .field("issuer", &self.0.issuer)
            .field("token_endpoint", &Origin::from_uri(self.token_endpoint()))
            .finish_non_exhaustive()
    }
}
