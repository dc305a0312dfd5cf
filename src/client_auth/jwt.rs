//! Authenticates with a JWT that is created for each attempt (RFC 7523).

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};
use tower::BoxError;

use super::assertion::{JWT_BEARER, set_assertion};
use super::{ClientAuthentication, TokenRequestParts};
use crate::error::ConfigError;
use crate::jwt::{AssertionClaims, Audience, SignedJwt, sign_with_secret};
use crate::secret::{Identity, Secret};

/// Authenticates with `private_key_jwt`: a JWT that the client's private key signs.
///
/// See RFC 7523 sections 2.2 and 3, and OpenID Connect Core 1.0 section 9.
pub(super) struct PrivateKeyJwt {
    client_id: String,
    jwt: SignedJwt,
}

impl PrivateKeyJwt {
    pub(super) fn new(client_id: String, jwt: SignedJwt) -> Self {
        Self { client_id, jwt }
    }
}

impl ClientAuthentication for PrivateKeyJwt {
    fn method(&self) -> &str {
        "private_key_jwt"
    }

    fn client_id(&self) -> Option<&str> {
        Some(&self.client_id)
    }

    fn identify(&self, identity: &mut Identity) {
        self.jwt.identify(identity);
    }

    fn version(&self) -> u64 {
        self.jwt.version()
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.jwt.check()
    }

    async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
        let assertion = self.jwt.sign(&self.client_id, &request.jwt_context()).await?;
        set_assertion(request, Some(&self.client_id), JWT_BEARER, &assertion);
        Ok(())
    }
}

/// Authenticates with a JWT whose HMAC key is the client secret (`client_secret_jwt`).
///
/// The JWT is short-lived, and its algorithm is `HS256` (RFC 7523 sections 2.2 and 3, OpenID
/// Connect Core 1.0 section 9).
///
/// [`ClientAuth::client_secret_jwt`](super::ClientAuth::client_secret_jwt) is the short form. The
/// key is the secret in UTF-8, which is never sent. Anyone who sees a JWT can guess secrets until
/// one matches, so the secret should have at least 32 random bytes (RFC 7518 section 3.2).
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
    client_id: String,
    secret: Secret,
    claims: AssertionClaims,
}

impl ClientSecretJwt {
    /// Creates a method that uses `secret` as the key.
    pub fn new(client_id: impl Into<String>, secret: impl Into<Secret>) -> Self {
        let (client_id, secret) = (client_id.into(), secret.into());
        Self { client_id, secret, claims: AssertionClaims::default() }
    }

    /// Sets the audience of the JWT, like [`SignedJwt::audience`].
    #[must_use]
    pub fn audience(mut self, audience: impl Into<Audience>) -> Self {
        self.claims.set_audience(audience.into());
        self
    }

    /// Sets the lifetime of the JWT, like [`SignedJwt::lifetime`].
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.claims.set_lifetime(lifetime);
        self
    }
}

impl ClientAuthentication for ClientSecretJwt {
    fn method(&self) -> &str {
        "client_secret_jwt"
    }

    fn client_id(&self) -> Option<&str> {
        Some(&self.client_id)
    }

    fn identify(&self, identity: &mut Identity) {
        identity.secret(&self.secret).nested(|identity| self.claims.identify(identity));
    }

    fn version(&self) -> u64 {
        self.secret.current_version()
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.secret.check("client secret")
    }

    async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
        self.check()?;
        let secret = self.secret.read(request.deadline()).await?;
        let claims = self.claims.claims(&self.client_id, &request.jwt_context())?;
        let header = Map::from_iter([("typ".to_owned(), "JWT".into())]);
        let assertion = sign_with_secret(secret.as_bytes(), header, &Value::Object(claims));
        set_assertion(request, Some(&self.client_id), JWT_BEARER, &assertion);
        Ok(())
    }
}

impl fmt::Debug for ClientSecretJwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSecretJwt").field("secret", &self.secret).finish_non_exhaustive()
    }
}
