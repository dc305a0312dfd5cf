//! Client authentication with JWTs that are made here, one for each attempt (RFC 7523).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tower::BoxError;

use super::given::{JWT_BEARER, put};
use super::{ClientAuthentication, TokenRequestParts};
use crate::error::ConfigError;
use crate::jwt::{self, Erased, KeyFile, Signer};
use crate::secret::Secret;
use crate::token::MAX_LIFETIME;

const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);

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
/// use tower_oauth2::{Algorithm, ClientAuth, PrivateKeyJwt, SigningKey};
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
}

impl PrivateKeyJwt {
    /// Signs with `key`: a [`SigningKey`](crate::SigningKey), a [`KeyFile`], or a [`Signer`] of
    /// one's own.
    pub fn new(client_id: impl Into<String>, key: impl Into<AssertionKey>) -> Self {
        Self { terms: Terms::new(client_id.into()), key: key.into() }
    }

    /// For whom the JWT is meant (`aud`), in the place of the token endpoint's URI: some servers want their
    /// issuer identifier. An empty one is the default again.
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
        Some(&self.terms.client_id)
    }

    fn identity(&self) -> Vec<u8> {
        let [kind, algorithm, kid, key] = self.key.identity();
        list(&[&kind, &algorithm, &kid, &key, self.terms.audience_bytes()])
    }

    fn version(&self) -> u64 {
        match &self.key.0 {
            Source::Signer(signer) => signer.version(),
            Source::File(file) => file.version(),
        }
    }

    async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
        let read;
        let signer: &dyn Erased = match &self.key.0 {
            Source::Signer(signer) => &**signer,
            Source::File(file) => {
                read = file.read().await?;
                &read
            }
        };
        let mut header = header();
        if let Some(kid) = signer.kid() {
            header.insert("kid".to_owned(), kid.into());
        }
        let claims = self.terms.claims(request)?;
        let assertion = jwt::sign(signer, header, &claims).await?;
        put(request, Some(&self.terms.client_id), JWT_BEARER, &assertion);
        Ok(())
    }
}

impl fmt::Debug for PrivateKeyJwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKeyJwt").field("key", &self.key).finish_non_exhaustive()
    }
}

/// What [`PrivateKeyJwt`] signs with: made from any [`Signer`], or from a [`KeyFile`].
#[derive(Clone)]
pub struct AssertionKey(Source);

#[derive(Clone)]
enum Source {
    Signer(Arc<dyn Erased>),
    File(KeyFile),
}

impl AssertionKey {
    /// What kind of source, algorithm, `kid`, and what the source says of itself.
    fn identity(&self) -> [Vec<u8>; 4] {
        match &self.0 {
            Source::Signer(signer) => [
                b"signer".to_vec(),
                signer.algorithm().to_string().into(),
                signer.kid().unwrap_or_default().into(),
                signer.identity(),
            ],
            Source::File(file) => [
                b"file".to_vec(),
                file.name_of_algorithm().into(),
                file.choice_of_kid(),
                file.identity(),
            ],
        }
    }
}

impl<S: Signer> From<S> for AssertionKey {
    fn from(signer: S) -> Self {
        Self(Source::Signer(Arc::new(signer)))
    }
}

impl From<KeyFile> for AssertionKey {
    fn from(file: KeyFile) -> Self {
        Self(Source::File(file))
    }
}

impl fmt::Debug for AssertionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Signer(signer) => f
                .debug_struct("AssertionKey")
                .field("algorithm", &signer.algorithm())
                .field("kid", &signer.kid())
                .finish_non_exhaustive(),
            Source::File(file) => file.fmt(f),
        }
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
/// use tower_oauth2::{ClientAuth, ClientSecretJwt, Secret};
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
        Some(&self.terms.client_id)
    }

    fn identity(&self) -> Vec<u8> {
        let secret = zeroize::Zeroizing::new(self.secret.identity());
        list(&[&secret, self.terms.audience_bytes()])
    }

    fn version(&self) -> u64 {
        self.secret.current_version()
    }

    async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
        let secret = self.secret.read().await?;
        if secret.is_empty() {
            return Err(ConfigError::new("client secret", "is empty").into());
        }
        let claims = self.terms.claims(request)?;
        let assertion = jwt::sign_with_secret(secret.as_bytes(), header(), &claims);
        put(request, Some(&self.terms.client_id), JWT_BEARER, &assertion);
        Ok(())
    }
}

impl fmt::Debug for ClientSecretJwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSecretJwt").field("secret", &self.secret).finish_non_exhaustive()
    }
}

/// What both say.
#[derive(Clone)]
struct Terms {
    client_id: String,
    /// Other than the token endpoint's URI.
    audience: Option<String>,
    lifetime: Duration,
}

impl Terms {
    fn new(client_id: String) -> Self {
        Self { client_id, audience: None, lifetime: DEFAULT_LIFETIME }
    }

    fn set_audience(&mut self, audience: String) {
        self.audience = (!audience.is_empty()).then_some(audience);
    }

    fn audience_bytes(&self) -> &[u8] {
        self.audience.as_deref().unwrap_or_default().as_bytes()
    }

    /// RFC 7523 section 3. There is no `nbf`: it adds nothing but a clock that may be off.
    fn claims(&self, request: &TokenRequestParts) -> Result<Value, BoxError> {
        let issued_at = request.now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let lifetime = self.lifetime.min(MAX_LIFETIME).as_secs().max(1);
        let audience = self.audience.as_deref().unwrap_or(request.endpoint_as_named());
        Ok(json!({
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": audience,
            "iat": issued_at,
            "exp": issued_at.saturating_add(lifetime),
            "jti": jwt::random_id()?,
        }))
    }
}

fn header() -> Map<String, Value> {
    Map::from_iter([("typ".to_owned(), "JWT".into())])
}

/// Byte strings with their lengths before them: two different lists never read the same.
fn list(items: &[&[u8]]) -> Vec<u8> {
    // With room for all of it: memory that is outgrown is not wiped.
    let room = items.iter().map(|item| item.len() + size_of::<usize>()).sum();
    let mut all = Vec::with_capacity(room);
    for item in items {
        all.extend_from_slice(&item.len().to_be_bytes());
        all.extend_from_slice(item);
    }
    all
}
