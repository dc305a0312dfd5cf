//! What an authorization server says of itself (RFC 8414, OpenID Connect Discovery 1.0).

mod document;
mod fetch;
mod lists;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::Body;
use http_body_util::Full;
use serde_json::Value;
use tower::{BoxError, Service};

pub use self::fetch::{MetadataBuilder, WellKnown};
use self::lists::{AUTH_ALGORITHMS, AUTH_METHODS, DPOP, GRANT_TYPES, LISTS, SCOPES, TextList};
use crate::client_auth::{ClientAuth, ClientAuthentication};
use crate::credentials::Credentials;
use crate::error::{ConfigError, TokenError, TokenErrorKind};
use crate::protocol::json::{Members, value};
use crate::protocol::origin::Origin;

/// Authorization server metadata: what the issuer of tokens says of itself at a well-known place,
/// its token endpoint first of all (RFC 8414, OpenID Connect Discovery 1.0).
///
/// It is fetched once, and is not fetched again: keep it for as long as the credentials that are
/// made of it. Cheap to clone.
///
/// # Trust
///
/// Whoever answers for the issuer says where client secrets are sent. So the issuer has to come
/// from configuration, it is spoken to over TLS, and a document with any other `issuer` than the
/// one that was asked for, be it by a slash at its end, is an error (RFC 8414 section 3.3). The
/// token endpoint is one over TLS, but may be at another host than the issuer, as it is at some
/// providers. Where that is not wanted, and whenever the issuer's name comes from somebody else,
/// list the endpoints with
/// [`TokenEndpoint::allowed_endpoints`](crate::TokenEndpoint::allowed_endpoints).
///
/// # Example
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{BoxError, service_fn};
/// use tower_oauth2::{ClientAuth, TokenCache, TokenEndpoint};
/// use tower_oauth2::metadata::Metadata;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// // In the place of a hyper client:
/// let http = service_fn(|request: Request<Full<Bytes>>| async move {
///     assert_eq!(request.uri(), "https://auth.example.com/.well-known/oauth-authorization-server");
///     let body = r#"{"issuer":"https://auth.example.com","token_endpoint":"https://auth.example.com/token"}"#;
///     Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(body)))
/// });
///
/// let metadata = Metadata::fetch("https://auth.example.com", http.clone()).await?;
/// let credentials = metadata
///     .credentials(ClientAuth::client_secret_basic("client-id", "s3cr3t"))?
///     .scope("read");
/// assert_eq!(credentials.token_endpoint(), "https://auth.example.com/token");
///
/// let source = TokenEndpoint::new(http).allowed_endpoints(["https://auth.example.com/token"])?;
/// let tokens = TokenCache::new(credentials, source);
/// # let _ = tokens;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Metadata(Arc<Inner>);

struct Inner {
    issuer: String,
    token_endpoint: Endpoint,
    /// `token_endpoint` of `mtls_endpoint_aliases`.
    mtls_token_endpoint: Option<Endpoint>,
    introspection_endpoint: Option<Uri>,
    revocation_endpoint: Option<Uri>,
    /// In the order of [`LISTS`].
    lists: [TextList; LISTS.len()],
    /// The JSON text, because a tree of the same values can take a hundred times as much memory.
    document: Box<[u8]>,
}

/// A place that secrets may be sent to.
struct Endpoint {
    uri: Uri,
    /// Letter for letter as the server has it, which is what it compares the `aud` of an assertion with.
    text: String,
}

/// Methods that a server could have listed (RFC 7591 section 4.2.2).
const REGISTERED_METHODS: &[&str] = &[
    "none",
    "client_secret_basic",
    "client_secret_jwt",
    "client_secret_post",
    "private_key_jwt",
    "self_signed_tls_client_auth",
    "tls_client_auth",
];

impl Metadata {
    /// Asks `issuer` for its metadata over `http`: [`builder`](Self::builder) with nothing set.
    ///
    /// # Errors
    ///
    /// As [`MetadataBuilder::fetch`], and [`TokenErrorKind::InvalidIssuer`] for what
    /// [`builder`](Self::builder) would refuse.
    pub async fn fetch<H, B>(issuer: impl AsRef<str>, http: H) -> Result<Self, TokenError>
    where
        H: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone,
        H::Error: Into<BoxError>,
        B: Body,
        B::Error: Into<BoxError>,
    {
        let builder = Self::builder(issuer).map_err(invalid_issuer)?;
        builder.fetch(http).await
    }

    /// How to ask `issuer` for its metadata.
    ///
    /// # Errors
    ///
    /// An issuer that is not an absolute `https` or `http` URI, or has user information, a query or
    /// a fragment (RFC 8414 section 2).
    pub fn builder(issuer: impl AsRef<str>) -> Result<MetadataBuilder, ConfigError> {
        MetadataBuilder::new(issuer.as_ref())
    }

    /// Credentials for the token endpoint, with this authentication: for
    /// [`tls_client_auth`](ClientAuth::tls_client_auth) and
    /// [`self_signed_tls_client_auth`](ClientAuth::self_signed_tls_client_auth) the
    /// [endpoint for mutual TLS](Self::mtls_token_endpoint), if there is one.
    ///
    /// # Errors
    ///
    /// A server that lists the methods it supports, without this one. `client_secret_basic_raw`
    /// counts as `client_secret_basic`, and methods of one's own with names that are not registered
    /// pass, as no server could list them. For a server whose list is wrong,
    /// [`Credentials::new`] with [`token_endpoint`](Self::token_endpoint) asks nobody. Else
    /// as there.
    pub fn credentials(&self, auth: ClientAuth) -> Result<Credentials, ConfigError> {
        let method = match auth.method() {
            "client_secret_basic_raw" => "client_secret_basic",
            method => method,
        };
        let mut listed = self.list(AUTH_METHODS).peekable();
        if listed.peek().is_some()
            && REGISTERED_METHODS.contains(&method)
            && !listed.any(|listed| listed == method)
        {
            return Err(ConfigError::new(
                "client authentication",
                "the method is not among the server's token_endpoint_auth_methods_supported",
            ));
        }
        let endpoint = match (&self.0.mtls_token_endpoint, method) {
            (Some(endpoint), "tls_client_auth" | "self_signed_tls_client_auth") => endpoint,
            _ => &self.0.token_endpoint,
        };
        Credentials::new(&endpoint.text, auth)
    }

    /// The issuer, as it was asked for.
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// Where tokens come from.
    pub fn token_endpoint(&self) -> &Uri {
        &self.0.token_endpoint.uri
    }

    /// Where tokens come from for those who show a certificate: `token_endpoint` of
    /// `mtls_endpoint_aliases` (RFC 8705 section 5). It is also the one for certificate-bound
    /// tokens with any other client authentication.
    pub fn mtls_token_endpoint(&self) -> Option<&Uri> {
        self.0.mtls_token_endpoint.as_ref().map(|endpoint| &endpoint.uri)
    }

    /// Where tokens are looked up (RFC 7662). None if it is anything but a URI that would do for a
    /// token endpoint.
    pub fn introspection_endpoint(&self) -> Option<&Uri> {
        self.0.introspection_endpoint.as_ref()
    }

    /// Where tokens are revoked (RFC 7009). None if it is anything but a URI that would do for a
    /// token endpoint.
    pub fn revocation_endpoint(&self) -> Option<&Uri> {
        self.0.revocation_endpoint.as_ref()
    }

    /// How clients may authenticate at the token endpoint: `client_secret_basic` unless the server
    /// says otherwise (RFC 8414 section 2).
    pub fn token_endpoint_auth_methods_supported(&self) -> impl Iterator<Item = &str> {
        self.list_or(AUTH_METHODS, &["client_secret_basic"])
    }

    /// The signature algorithms for client authentication with JWTs, `none` among them if the
    /// server says so.
    pub fn token_endpoint_auth_signing_alg_values_supported(&self) -> impl Iterator<Item = &str> {
        self.list(AUTH_ALGORITHMS)
    }

    /// The grant types: `authorization_code` and `implicit` unless the server says otherwise (RFC
    /// 8414 section 2). Many servers that know `client_credentials` do not say so.
    pub fn grant_types_supported(&self) -> impl Iterator<Item = &str> {
        self.list_or(GRANT_TYPES, &["authorization_code", "implicit"])
    }

    /// Names that a scope may have. A server need not tell all of them.
    pub fn scopes_supported(&self) -> impl Iterator<Item = &str> {
        self.list(SCOPES)
    }

    /// The signature algorithms for DPoP proofs; none if the server does not support DPoP (RFC 9449
    /// section 5.1).
    pub fn dpop_signing_alg_values_supported(&self) -> impl Iterator<Item = &str> {
        self.list(DPOP)
    }

    /// Returns any member of the document as the server sent it, which nothing has checked.
    ///
    /// Each call parses the document, of which only the text is kept.
    pub fn get(&self, name: &str) -> Option<Value> {
        let members: Members<'_> = serde_json::from_slice(&self.0.document).ok()?;
        value(&members, name)
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

fn invalid_issuer(error: ConfigError) -> TokenError {
    TokenError::new(TokenErrorKind::InvalidIssuer, error.reason())
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata")
            .field("issuer", &self.0.issuer)
            .field("token_endpoint", &Origin::of(self.token_endpoint()))
            .finish_non_exhaustive()
    }
}
