//! Client authentication with JWTs that are made here, one for each attempt (RFC 7523).

mod key;
mod terms;

use std::fmt;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tower::BoxError;

pub use self::key::AssertionKey;
pub(crate) use self::key::header;
pub(crate) use self::terms::{Terms, list};
use super::given::{JWT_BEARER, put};
use super::{ClientAuthentication, TokenRequestParts};
use crate::error::ConfigError;
use crate::jwt;
use crate::secret::Secret;

/// `private_key_jwt`: the client signs a short-lived JWT with its private key (RFC 7523 sections 2.2
/// and 3, OpenID Connect Core 1.0 section 9).
///
/// [`ClientAuth::private_key_jwt`](super::ClientAuth::private_key_jwt) is the short form. Each attempt
/// gets a JWT of its own, with a `jti` of 128 random bits; `iat` and `exp` go by the server's clock where
/// that is known to differ ([`TokenRequestParts::now`]).
///
/// # Example
///
/// ```
/// # fn main() -> Result<(), tower_oauth2::ConfigError> {
/// use std::time::Duration;
/// use tower_oauth2::ClientAuth;
/// use tower_oauth2::client_auth::PrivateKeyJwt;
/// use tower_oauth2::jwt::{Algorithm, SigningKey};
///
/// let key = SigningKey::generate(Algorithm::ES256)?.with_kid("2026-01");
/// let auth = ClientAuth::custom(
///     PrivateKeyJwt::new("client-id", key)
///         .audience("https://auth.example.com")
///         .lifetime(Duration::from_secs(30)),
/// );
/// assert_eq!(format!("{auth:?}"), "ClientAuth(private_key_jwt)");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PrivateKeyJwt {
    terms: Terms,
    key: AssertionKey,
    /// Of the key's certificate, if it has one.
    thumbprint: Option<String>,
}

impl PrivateKeyJwt {
    /// Signs with `key`: a [`SigningKey`](crate::jwt::SigningKey), a [`KeyFile`](crate::jwt::KeyFile), or a [`Signer`](crate::jwt::Signer) of
    /// one's own.
    pub fn new(client_id: impl Into<String>, key: impl Into<AssertionKey>) -> Self {
        Self { terms: Terms::new(client_id.into()), key: key.into(), thumbprint: None }
    }

    /// The key's certificate, as DER and without its chain: its SHA-256 thumbprint goes into the JWT's header
    /// (`x5t#S256`, RFC 7515 section 4.1.8). Microsoft Entra ID finds the key by it; most servers go by `kid`.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use tower_oauth2::ClientAuth;
    /// use tower_oauth2::client_auth::PrivateKeyJwt;
    /// use tower_oauth2::jwt::{Algorithm, KeyFile};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let key = KeyFile::new("/run/secrets/client-key.pem").algorithm(Algorithm::PS256);
    /// let certificate = std::fs::read("/run/secrets/client-certificate.der")?;
    /// let auth = ClientAuth::custom(PrivateKeyJwt::new("client-id", key).certificate(certificate));
    /// # let _ = auth;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn certificate(mut self, certificate: impl AsRef<[u8]>) -> Self {
        self.thumbprint = Some(jwt::encode(Sha256::digest(certificate)));
        self
    }

    /// For whom the JWT is meant (`aud`), in the place of the token endpoint's URI: some servers want their
    /// issuer identifier, which is [`Metadata::issuer`](crate::metadata::Metadata::issuer) where that was asked. An empty one is
    /// the default again.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.terms.set_audience(audience.into());
        self
    }

    /// How long the JWT is good for, in whole seconds; 60 unless set, and one at least.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.terms.lifetime = lifetime;
        self
    }
}

impl ClientAuthentication for PrivateKeyJwt {
    fn method(&self) -> &str {
        "private_key_jwt"
    }

    fn client_id(&self) -> Option<&str> {
        Some(&self.terms.issuer)
    }

    fn identity(&self) -> Vec<u8> {
        let [kind, algorithm, kid, key] = self.key.identity();
        let thumbprint = self.thumbprint.as_deref().unwrap_or_default().as_bytes();
        list(&[&kind, &algorithm, &kid, &key, self.terms.audience_bytes(), thumbprint])
    }

    fn version(&self) -> u64 {
        self.key.version()
    }

    async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
        let claims = self.terms.claims(request)?;
        let mut header = header();
        if let Some(thumbprint) = &self.thumbprint {
            header.insert("x5t#S256".to_owned(), thumbprint.as_str().into());
        }
        let assertion = self.key.sign(header, claims, request.deadline()).await?;
        put(request, Some(&self.terms.issuer), JWT_BEARER, &assertion);
        Ok(())
    }
}

impl fmt::Debug for PrivateKeyJwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKeyJwt").field("key", &self.key).finish_non_exhaustive()
    }
}

/// `client_secret_jwt`: the client makes a short-lived JWT with an HMAC over it, whose key are the bytes
/// of the client secret in UTF-8 (`HS256`; RFC 7523 sections 2.2 and 3, OpenID Connect Core 1.0 section 9).
///
/// [`ClientAuth::client_secret_jwt`](super::ClientAuth::client_secret_jwt) is the short form. The
/// secret itself is never sent; whoever sees a JWT can try secrets until one fits, so it should have 32
/// bytes at least that nobody can guess (RFC 7518 section 3.2).
///
/// # Example
///
/// ```
/// use tower_oauth2::{ClientAuth, Secret};
/// use tower_oauth2::client_auth::ClientSecretJwt;
///
/// let secret = Secret::file("/run/secrets/api");
/// let auth = ClientAuth::custom(
///     ClientSecretJwt::new("client-id", secret).audience("https://auth.example.com"),
/// );
/// assert_eq!(format!("{auth:?}"), "ClientAuth(client_secret_jwt)");
/// ```
#[derive(Clone)]
pub struct ClientSecretJwt {
    terms: Terms,
    secret: Secret,
}

impl ClientSecretJwt {
    /// With `secret` as the key.
    pub fn new(client_id: impl Into<String>, secret: impl Into<Secret>) -> Self {
        Self { terms: Terms::new(client_id.into()), secret: secret.into() }
    }

    /// As [`PrivateKeyJwt::audience`].
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.terms.set_audience(audience.into());
        self
    }

    /// As [`PrivateKeyJwt::lifetime`].
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.terms.lifetime = lifetime;
        self
    }
}

impl ClientAuthentication for ClientSecretJwt {
    fn method(&self) -> &str {
        "client_secret_jwt"
    }

    fn client_id(&self) -> Option<&str> {
        Some(&self.terms.issuer)
    }

    fn identity(&self) -> Vec<u8> {
        let secret = zeroize::Zeroizing::new(self.secret.identity());
        list(&[&secret, self.terms.audience_bytes()])
    }

    fn version(&self) -> u64 {
        self.secret.current_version()
    }

    async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
        let secret = self.secret.read(request.deadline()).await?;
        if secret.is_empty() {
            return Err(ConfigError::new("client secret", "is empty").into());
        }
        let claims = self.terms.claims(request)?;
        let assertion = jwt::sign_with_secret(secret.as_bytes(), header(), &Value::Object(claims));
        put(request, Some(&self.terms.issuer), JWT_BEARER, &assertion);
        Ok(())
    }
}

impl fmt::Debug for ClientSecretJwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSecretJwt").field("secret", &self.secret).finish_non_exhaustive()
    }
}
