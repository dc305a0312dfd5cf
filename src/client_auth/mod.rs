//! Authenticates the client at the token endpoint (RFC 6749 section 2.3).
//!
//! - [`ClientAuth`] has a constructor for each method.
//! - [`ClientAssertion`] has the settings of an assertion that another party has created, and
//!   `ClientSecretJwt` (feature `jwt`) those of a JWT with an HMAC.
//! - [`ClientAuthentication`] is the trait of custom methods. [`TokenRequestParts`] is the request
//!   that they change, and [`Identity`] collects the data that distinguishes clients.
//!
//! The [guide](crate::guide::authentication) shows the methods with examples.

mod assertion;
mod client_secret;
mod form;
#[cfg(feature = "jwt")]
mod jwt;
mod method;
mod public_client;
mod tls;
#[cfg(not(feature = "jwt"))]
mod without_jwt;

use std::fmt;
use std::sync::Arc;

use tower::BoxError;

pub(crate) use self::client_secret::CLIENT_SECRET;
use self::client_secret::{ClientSecret, SecretPlacement};
pub use self::form::TokenRequestParts;
#[cfg(feature = "jwt")]
use self::jwt::PrivateKeyJwt;
use self::method::DynClientAuthentication;
use self::public_client::{Anonymous, PublicClient};
use self::tls::Tls;
#[cfg(not(feature = "jwt"))]
#[doc(hidden)]
pub use self::without_jwt::NeedsJwt;
use crate::error::ConfigError;
#[cfg(feature = "jwt")]
use crate::jwt::SignedJwt;
pub use crate::secret::Identity;
use crate::secret::Secret;

// Rustdoc's search finds an alias at a `pub use`, and not at a definition in a private module.
#[doc(alias("workload identity", "service account", "federated"))]
#[doc(alias("SPIFFE", "RFC 7521", "RFC 7523"))]
pub use self::assertion::ClientAssertion;
#[cfg(feature = "jwt")]
#[doc(alias("client_secret_jwt", "HMAC", "HS256", "RFC 7523"))]
pub use self::jwt::ClientSecretJwt;
#[doc(alias("custom authentication", "authenticator"))]
pub use self::method::ClientAuthentication;

/// Says how the client authenticates at the token endpoint.
///
/// The constructors have the registered names of the methods (RFC 7591 section 2). A clone is
/// cheap. `Debug` shows the method only. Secrets are wiped from memory when the last clone is
/// dropped, except in the encoded token request.
///
/// Settings that cannot work, such as an empty secret, are errors when
/// [`Credentials`](crate::Credentials) are created with them.
///
/// # Example
///
/// ```
/// use tower_oauth2::ClientAuth;
///
/// let auth = ClientAuth::client_secret_basic("client-id", "s3cr3t");
/// assert_eq!(format!("{auth:?}"), "ClientAuth(client_secret_basic)");
/// ```
#[doc(alias("client authentication", "client credentials"))]
#[doc(alias = "token_endpoint_auth_method")]
#[derive(Clone)]
pub struct ClientAuth(Arc<dyn DynClientAuthentication>);

impl ClientAuth {
    /// Sends the id and the secret by the method that the issuer's metadata list.
    ///
    /// The method is [`client_secret_post`](Self::client_secret_post) if the metadata list it
    /// without `client_secret_basic`, and [`client_secret_basic`](Self::client_secret_basic)
    /// otherwise. If the metadata list neither, it is an error. With
    /// [`Credentials::new`](crate::Credentials::new) there are no metadata, and the method is
    /// `client_secret_basic`.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_oauth2::{ClientAuth, Credentials, Secret};
    ///
    /// let secret = Secret::file("/run/secrets/api");
    /// let auth = ClientAuth::client_secret("client-id", secret);
    /// let credentials = Credentials::from_issuer("https://auth.example.com", auth)?;
    /// # let _ = credentials;
    /// # Ok::<(), tower_oauth2::ConfigError>(())
    /// ```
    #[doc(alias = "token_endpoint_auth_methods_supported")]
    pub fn client_secret(client_id: impl Into<String>, client_secret: impl Into<Secret>) -> Self {
        Self::with_secret(client_id.into(), client_secret.into(), SecretPlacement::Listed)
    }

    /// Sends the form-encoded id and secret with HTTP Basic, as RFC 6749 section 2.3.1 requires.
    ///
    /// A space is encoded as `%20`, which all form decoders read. Some servers do not read `+` as a
    /// space there.
    #[doc(alias("HTTP Basic", "Basic"))]
    pub fn client_secret_basic(
        client_id: impl Into<String>,
        client_secret: impl Into<Secret>,
    ) -> Self {
        Self::with_secret(client_id.into(), client_secret.into(), SecretPlacement::Basic)
    }

    /// Sends the id and secret with HTTP Basic, without form encoding.
    ///
    /// Use it for servers that do not decode the two. It differs from
    /// [`client_secret_basic`](Self::client_secret_basic) only if they have characters other than
    /// letters, digits, `-`, `.`, `_` and `*`. A colon in the id is an error when
    /// [`Credentials`](crate::Credentials) are created, because the colon separates the id from the
    /// secret (RFC 7617 section 2).
    pub fn client_secret_basic_raw(
        client_id: impl Into<String>,
        client_secret: impl Into<Secret>,
    ) -> Self {
        Self::with_secret(client_id.into(), client_secret.into(), SecretPlacement::BasicRaw)
    }

    /// Sends the id and the secret in the form (RFC 6749 section 2.3.1).
    ///
    /// The parameters are `client_id` and `client_secret`.
    #[doc(alias("client_id", "RFC 6749"))]
    pub fn client_secret_post(
        client_id: impl Into<String>,
        client_secret: impl Into<Secret>,
    ) -> Self {
        Self::with_secret(client_id.into(), client_secret.into(), SecretPlacement::Post)
    }

    fn with_secret(id: String, secret: Secret, placement: SecretPlacement) -> Self {
        Self::custom(ClientSecret::new(id, secret, placement))
    }

    /// Sends an assertion that another party has created for this client (RFC 7523 section 2.2).
    ///
    /// It is sent as a JWT, with the `client_id`.
    ///
    /// Examples are the token of a Kubernetes service account, a SPIFFE JWT-SVID, and the token of
    /// a cloud's workload identity. [`ClientAssertion`] sends one without an id, or of another
    /// type.
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
    #[doc(alias("workload identity", "service account", "Kubernetes"))]
    #[doc(alias("SPIFFE", "federated", "web identity"))]
    #[doc(alias("client_assertion_type", "RFC 7521", "RFC 7523"))]
    pub fn client_assertion(client_id: impl Into<String>, assertion: impl Into<Secret>) -> Self {
        Self::custom(ClientAssertion::new(assertion).client_id(client_id))
    }

    /// Sends a JWT that is signed with the client's private key.
    ///
    /// Each attempt has its own JWT (RFC 7523 section 2.2). `jwt` is a [`SignedJwt`], or a key to
    /// sign it with: a [`SigningKey`](crate::jwt::SigningKey), a [`KeyFile`](crate::jwt::KeyFile),
    /// or a custom [`Signer`](crate::jwt::Signer).
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
    #[doc(alias("client assertion", "certificate credentials", "RFC 7523"))]
    #[cfg(feature = "jwt")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwt")))]
    pub fn private_key_jwt(client_id: impl Into<String>, jwt: impl Into<SignedJwt>) -> Self {
        Self::custom(PrivateKeyJwt::new(client_id.into(), jwt.into()))
    }

    /// Sends a JWT with an HMAC by the client secret.
    ///
    /// Each attempt has its own JWT (RFC 7523 section 2.2). The algorithm is `HS256`.
    ///
    /// [`ClientSecretJwt`] has settings for the JWT.
    #[doc(alias("HMAC", "HS256", "RFC 7523"))]
    #[cfg(feature = "jwt")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwt")))]
    pub fn client_secret_jwt(
        client_id: impl Into<String>,
        client_secret: impl Into<Secret>,
    ) -> Self {
        Self::custom(ClientSecretJwt::new(client_id, client_secret))
    }

    /// Sends the `client_id` in the form, and no proof (RFC 6749 section 3.2.1).
    #[doc(alias = "public client")]
    pub fn none(client_id: impl Into<String>) -> Self {
        Self::custom(PublicClient::new(client_id.into()))
    }

    /// Sends nothing about the client.
    ///
    /// Use it for a [grant](crate::grant) whose assertion or token is the only proof that the
    /// server needs, such as the JWT bearer grant of a Google service account.
    #[doc(alias = "no authentication")]
    pub fn anonymous() -> Self {
        Self::custom(Anonymous)
    }

    /// Authenticates by mutual TLS with a certificate that an authority has signed.
    ///
    /// RFC 8705 section 2.1 defines the method. The request has the `client_id` in its form.
    ///
    /// The HTTP client under the [`TokenEndpoint`](crate::TokenEndpoint) presents the certificate,
    /// and its TLS configuration holds the key. This crate uses neither of them. A token may be
    /// bound to the certificate that it was requested with (RFC 8705 section 3), and cannot be used
    /// with another one. Therefore, `certificate` is part of the identity of the credentials: it is
    /// the client's own certificate as DER, without its chain. It is not sent.
    ///
    /// After the certificate is replaced, create new credentials, and new HTTP clients for the
    /// token endpoint and the API, because pooled connections keep showing the old certificate.
    ///
    /// An API that requires bound tokens has to be called with the same certificate: give the HTTP
    /// clients for the API and the token endpoint the same TLS configuration. A token endpoint for
    /// mutual TLS may have another address:
    /// [`Metadata::mtls_token_endpoint`](crate::metadata::Metadata::mtls_token_endpoint).
    ///
    /// An empty `certificate` is an error when [`Credentials`](crate::Credentials) are created.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_oauth2::{ClientAuth, Credentials};
    ///
    /// # fn credentials(chain: &[Vec<u8>]) -> Result<Credentials, tower_oauth2::ConfigError> {
    /// // The chain in the TLS configuration: with rustls, a list of `CertificateDer`.
    /// let auth = ClientAuth::tls_client_auth("client-id", &chain[0]);
    /// Credentials::new("https://mtls.auth.example.com/token", auth)
    /// # }
    /// # assert_ne!(credentials(&[vec![1]])?, credentials(&[vec![2]])?);
    /// # Ok::<(), tower_oauth2::ConfigError>(())
    /// ```
    #[doc(alias("mTLS", "mutual TLS", "client certificate", "RFC 8705"))]
    pub fn tls_client_auth(client_id: impl Into<String>, certificate: impl AsRef<[u8]>) -> Self {
        Self::custom(Tls::pki(client_id.into(), certificate.as_ref()))
    }

    /// Authenticates by mutual TLS with a self-signed certificate.
    ///
    /// The certificate is registered at the server (RFC 8705 section 2.2). The request has the
    /// `client_id` in its form.
    ///
    /// It works like [`tls_client_auth`](Self::tls_client_auth) in all other respects.
    #[doc(alias("mTLS", "mutual TLS", "client certificate", "RFC 8705"))]
    pub fn self_signed_tls_client_auth(
        client_id: impl Into<String>,
        certificate: impl AsRef<[u8]>,
    ) -> Self {
        Self::custom(Tls::self_signed(client_id.into(), certificate.as_ref()))
    }

    /// Authenticates with a custom method.
    pub fn custom(method: impl ClientAuthentication) -> Self {
        Self(Arc::new(method))
    }
}

/// Lets custom methods build on the methods of this crate.
impl ClientAuthentication for ClientAuth {
    fn method(&self) -> &str {
        self.0.method()
    }

    fn client_id(&self) -> Option<&str> {
        self.0.client_id()
    }

    fn identify(&self, identity: &mut Identity) {
        self.0.identify(identity);
    }

    fn version(&self) -> u64 {
        self.0.version()
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.0.check()
    }

    async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
        self.0.authenticate(request).await
    }
}

impl Identity {
    /// Adds a client authentication method, with its name and its client id.
    pub fn client_auth(&mut self, auth: &ClientAuth) -> &mut Self {
        self.nested(|identity| {
            identity.part(auth.0.method());
            identity.list(auth.0.client_id());
            identity.nested(|identity| auth.0.identify(identity));
        })
    }
}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientAuth({})", self.0.method())
    }
}
