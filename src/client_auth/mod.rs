//! How the client proves to the token endpoint who it is (RFC 6749 section 2.3).

#[cfg(feature = "jwt")]
mod assertion;
mod form;
mod given;
mod identity;
mod secret;
mod tls;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tower::BoxError;

#[cfg(feature = "jwt")]
pub use self::assertion::{AssertionKey, ClientSecretJwt, PrivateKeyJwt};
#[cfg(feature = "jwt")]
pub(crate) use self::assertion::{Terms, header, list};
pub use self::form::TokenRequestParts;
pub use self::given::ClientAssertion;
pub(crate) use self::identity::{LENGTH_SIZE, length_bytes};
use self::secret::{ClientSecret, NoSecret, Way};
use self::tls::Tls;
use crate::secret::Secret;

/// How the client proves to the token endpoint who it is.
///
/// The methods have the names under which they are registered (RFC 7591 section 2). Cheap to
/// clone; `Debug` shows the method only. Secrets are wiped when the last clone goes; the encoded
/// request that they are sent in can not be.
///
/// # Example
///
/// ```
/// use tower_oauth2::ClientAuth;
///
/// let auth = ClientAuth::client_secret_basic("client-id", "s3cr3t");
/// assert_eq!(format!("{auth:?}"), "ClientAuth(client_secret_basic)");
/// ```
#[derive(Clone)]
pub struct ClientAuth(Arc<dyn Erased>);

impl ClientAuth {
    /// HTTP Basic with id and secret form-encoded first, as RFC 6749 section 2.3.1 has it. A space is
    /// `%20`, which every form decoder reads, and not `+`, which some servers take for itself there.
    pub fn client_secret_basic(
        client_id: impl Into<String>,
        client_secret: impl Into<Secret>,
    ) -> Self {
        Self::custom(ClientSecret::new(client_id.into(), client_secret.into(), Way::Basic))
    }

    /// HTTP Basic with id and secret as they are, for servers that do not decode what RFC 6749
    /// section 2.3.1 has encoded. They differ only when there are characters other than letters,
    /// digits, `-`, `.`, `_` and `*`.
    ///
    /// An id with a colon in it fails at the first token request, as it can not be told from the
    /// secret (RFC 7617 section 2).
    pub fn client_secret_basic_raw(
        client_id: impl Into<String>,
        client_secret: impl Into<Secret>,
    ) -> Self {
        Self::custom(ClientSecret::new(client_id.into(), client_secret.into(), Way::BasicRaw))
    }

    /// Id and secret as `client_id` and `client_secret` in the form (RFC 6749 section 2.3.1).
    pub fn client_secret_post(
        client_id: impl Into<String>,
        client_secret: impl Into<Secret>,
    ) -> Self {
        Self::custom(ClientSecret::new(client_id.into(), client_secret.into(), Way::Post))
    }

    /// An assertion that somebody else has made for this client, as `client_assertion` in the form with
    /// the type for JWTs and `client_id` beside it: the token of a Kubernetes service account, a SPIFFE JWT-SVID, what
    /// a cloud's workload identity issues (RFC 7523 section 2.2). See [`ClientAssertion`] for one
    /// without an id, or of another type.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_oauth2::{ClientAuth, Secret};
    ///
    /// let token = Secret::file("/var/run/secrets/azure/tokens/azure-identity-token");
    /// let auth = ClientAuth::client_assertion("client-id", token);
    /// # let _ = auth;
    /// ```
    pub fn client_assertion(client_id: impl Into<String>, assertion: impl Into<Secret>) -> Self {
        Self::custom(ClientAssertion::new(assertion).client_id(client_id))
    }

    /// A JWT that is signed with the client's private key for each attempt (RFC 7523 section 2.2).
    /// `key` is a [`SigningKey`](crate::jwt::SigningKey), a [`KeyFile`](crate::jwt::KeyFile), or a
    /// [`Signer`](crate::jwt::Signer) of one's own; see [`PrivateKeyJwt`] for what can be set.
    ///
    /// # Example
    ///
    /// ```
    /// # fn main() -> Result<(), tower_oauth2::ConfigError> {
    /// use tower_oauth2::ClientAuth;
    /// use tower_oauth2::jwt::{Algorithm, SigningKey};
    ///
    /// let key = SigningKey::generate(Algorithm::ES256)?.with_kid("2026-01");
    /// let auth = ClientAuth::private_key_jwt("client-id", key);
    /// # let _ = auth;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "jwt")]
    pub fn private_key_jwt(client_id: impl Into<String>, key: impl Into<AssertionKey>) -> Self {
        Self::custom(PrivateKeyJwt::new(client_id, key))
    }

    /// A JWT for each attempt, with an HMAC whose key is the client secret (`HS256`, RFC 7523
    /// section 2.2). See [`ClientSecretJwt`] for what can be set.
    #[cfg(feature = "jwt")]
    pub fn client_secret_jwt(
        client_id: impl Into<String>,
        client_secret: impl Into<Secret>,
    ) -> Self {
        Self::custom(ClientSecretJwt::new(client_id, client_secret))
    }

    /// No proof: `client_id` in the form and nothing else (RFC 6749 section 3.2.1).
    pub fn none(client_id: impl Into<String>) -> Self {
        Self::custom(NoSecret::new(client_id.into()))
    }

    /// Mutual TLS with a certificate that a certificate authority has signed: `client_id` in the
    /// form, and the proof is the handshake's (RFC 8705 section 2.1).
    ///
    /// The HTTP client under the [`TokenEndpoint`](crate::TokenEndpoint) shows the certificate, and
    /// its TLS configuration holds the key; neither can be seen from here. As a token may be bound
    /// to the certificate that it was asked for with (RFC 8705 section 3), and is then of no use
    /// with another, `certificate` says which one it is: the client's own certificate as DER,
    /// without its chain. It is not sent; credentials with different certificates are different
    /// credentials. After the certificate is replaced, create new credentials, and new HTTP clients for
    /// the token endpoint and the API too: connections in a pool keep showing the old certificate.
    ///
    /// An API that asks for bound tokens has to be called with the same certificate: give the HTTP
    /// clients for API and token endpoint the same TLS configuration. A token endpoint for mutual
    /// TLS may have an address of its own, see
    /// [`Metadata::mtls_token_endpoint`](crate::metadata::Metadata::mtls_token_endpoint).
    ///
    /// With an empty `certificate`, token requests fail before anything is sent.
    ///
    /// ```
    /// use tower_oauth2::{ClientAuth, Credentials};
    ///
    /// # fn credentials(chain: &[Vec<u8>]) -> Result<Credentials, tower_oauth2::ConfigError> {
    /// // `chain` is what the TLS library has been given: with rustls, `CertificateDer`s.
    /// let auth = ClientAuth::tls_client_auth("client-id", &chain[0]);
    /// Credentials::new("https://mtls.auth.example.com/token", auth)
    /// # }
    /// # assert_ne!(credentials(&[vec![1]])?, credentials(&[vec![2]])?);
    /// # Ok::<(), tower_oauth2::ConfigError>(())
    /// ```
    pub fn tls_client_auth(client_id: impl Into<String>, certificate: impl AsRef<[u8]>) -> Self {
        Self::custom(Tls::pki(client_id.into(), certificate.as_ref()))
    }

    /// Mutual TLS with a self-signed certificate that the server has been told of (RFC 8705 section
    /// 2.2). Else as [`tls_client_auth`](Self::tls_client_auth).
    pub fn self_signed_tls_client_auth(
        client_id: impl Into<String>,
        certificate: impl AsRef<[u8]>,
    ) -> Self {
        Self::custom(Tls::self_signed(client_id.into(), certificate.as_ref()))
    }

    /// A method of one's own.
    pub fn custom(method: impl ClientAuthentication) -> Self {
        Self(Arc::new(method))
    }
}

/// So that a method of one's own can build on one of these.
impl ClientAuthentication for ClientAuth {
    fn method(&self) -> &str {
        self.0.method()
    }

    fn client_id(&self) -> Option<&str> {
        self.0.client_id()
    }

    fn identity(&self) -> Vec<u8> {
        self.0.identity()
    }

    fn version(&self) -> u64 {
        self.0.version()
    }

    async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
        self.0.authenticate(request).await
    }
}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientAuth({})", self.0.method())
    }
}

/// A way to authenticate at the token endpoint: the step that adds to each token request what
/// proves who sends it.
///
/// It runs anew for every attempt, so a secret that changes can be read each time.
///
/// # Example
///
/// A gateway before the token endpoint that wants a key of its own, beside what RFC 6749 has:
///
/// ```
/// use http::HeaderValue;
/// use tower::BoxError;
/// use tower_oauth2::ClientAuth;
/// use tower_oauth2::client_auth::{ClientAuthentication, TokenRequestParts};
///
/// struct WithGatewayKey {
///     client: ClientAuth,
///     gateway_key: String,
/// }
///
/// impl ClientAuthentication for WithGatewayKey {
///     fn method(&self) -> &str {
///         "gateway_key"
///     }
///
///     fn client_id(&self) -> Option<&str> {
///         self.client.client_id()
///     }
///
///     fn identity(&self) -> Vec<u8> {
///         let mut identity = self.client.identity();
///         identity.extend_from_slice(self.gateway_key.as_bytes());
///         identity
///     }
///
///     fn version(&self) -> u64 {
///         self.client.version()
///     }
///
///     async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
///         let mut key = HeaderValue::try_from(&self.gateway_key)?;
///         key.set_sensitive(true);
///         request.headers_mut().insert("x-gateway-key", key);
///         self.client.authenticate(request).await
///     }
/// }
///
/// let auth = ClientAuth::custom(WithGatewayKey {
///     client: ClientAuth::client_secret_basic("client-id", "s3cr3t"),
///     gateway_key: "k3y".to_owned(),
/// });
/// # let _ = auth;
/// ```
pub trait ClientAuthentication: Send + Sync + 'static {
    /// The name under which the method is registered (RFC 7591 section 2), or one of its own.
    fn method(&self) -> &str;

    /// The client's id, for methods that know it.
    fn client_id(&self) -> Option<&str> {
        None
    }

    /// What makes this client who it is: two that may not share a token differ here. Id, secret
    /// or where it is read from, key, certificate.
    ///
    /// It is asked for once per [`Credentials`](crate::Credentials), and kept in memory
    /// that is wiped. `method` and `client_id` are taken into account without being repeated.
    fn identity(&self) -> Vec<u8>;

    /// Another number whenever the secret is another one. A failure such as `invalid_client` is
    /// remembered for a version, and forgotten with it. Called often after a failure: it must be
    /// quick.
    fn version(&self) -> u64 {
        0
    }

    /// Adds to a token request what proves who sends it.
    ///
    /// # Errors
    ///
    /// Any failure ends this attempt as
    /// [`TokenErrorKind::ClientAuthentication`](crate::TokenErrorKind::ClientAuthentication), with the
    /// error as its source. Keep secrets out of its text.
    fn authenticate(
        &self,
        request: &mut TokenRequestParts,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// [`ClientAuthentication`] without its own future type, so that it can be shared.
trait Erased: Send + Sync {
    fn method(&self) -> &str;
    fn client_id(&self) -> Option<&str>;
    fn identity(&self) -> Vec<u8>;
    fn version(&self) -> u64;
    fn authenticate<'a>(
        &'a self,
        request: &'a mut TokenRequestParts,
    ) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send + 'a>>;
}

impl<T: ClientAuthentication> Erased for T {
    fn method(&self) -> &str {
        ClientAuthentication::method(self)
    }

    fn client_id(&self) -> Option<&str> {
        ClientAuthentication::client_id(self)
    }

    fn identity(&self) -> Vec<u8> {
        ClientAuthentication::identity(self)
    }

    fn version(&self) -> u64 {
        ClientAuthentication::version(self)
    }

    fn authenticate<'a>(
        &'a self,
        request: &'a mut TokenRequestParts,
    ) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send + 'a>> {
        Box::pin(ClientAuthentication::authenticate(self, request))
    }
}
