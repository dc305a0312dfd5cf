use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use serde_json::{Map, Value};
use tower::BoxError;
use zeroize::Zeroizing;

use crate::client_auth::{
    AssertionKey, ClientAuth, ClientAuthentication, Terms, TokenRequestParts, header, list,
};
use crate::credentials::CLIENT_CREDENTIALS;
use crate::error::ConfigError;

/// RFC 7523 section 2.1
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The JWT bearer grant: a short-lived JWT, signed here, takes the place of the client's own name as what the
/// token is granted for (RFC 7523 section 2.1). Google's service accounts and Salesforce's integrations want it.
///
/// It goes where client authentication goes, as it too is made anew for each attempt: see
/// [`ClientAuth::jwt_bearer`] for one with nothing to set. Each JWT has a `jti` of 128 random bits, and `iat` and `exp` go
/// by the server's clock where that is known to differ ([`TokenRequestParts::now`]).
///
/// With a refresh token or a token exchange it can not go together: such a token request fails before anything is sent.
///
/// Do not take it for [`PrivateKeyJwt`](crate::client_auth::PrivateKeyJwt), where a JWT authenticates the client and the token is the client's.
///
/// # Example
///
/// A service account as Google has it, with the scope in the JWT, that acts for a user:
///
/// ```
/// # fn main() -> Result<(), tower_oauth2::ConfigError> {
/// use tower_oauth2::{ClientAuth, Credentials};
/// use tower_oauth2::grant::JwtBearer;
/// use tower_oauth2::jwt::{Algorithm, SigningKey};
///
/// // From the `private_key` of a key file, else.
/// let key = SigningKey::generate(Algorithm::ES256)?;
/// let account = JwtBearer::new("robot@project.iam.example.com", key)
///     .subject("alf@example.com")
///     .claim("scope", "https://www.example.com/auth/calendar");
/// let credentials =
///     Credentials::new("https://oauth2.example.com/token", ClientAuth::custom(account))?;
/// assert_eq!(format!("{:?}", credentials.client_auth()), "ClientAuth(jwt_bearer)");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct JwtBearer {
    terms: Terms,
    key: AssertionKey,
    /// By name, so that the order in which they are given makes no difference.
    claims: Map<String, Value>,
    client_auth: Option<ClientAuth>,
}

impl JwtBearer {
    /// Signs with `key` as `issuer` (`iss`): a [`SigningKey`](crate::jwt::SigningKey), a [`KeyFile`](crate::jwt::KeyFile), or a
    /// [`Signer`](crate::jwt::Signer) of one's own.
    pub fn new(issuer: impl Into<String>, key: impl Into<AssertionKey>) -> Self {
        let terms = Terms::new(issuer.into());
        Self { terms, key: key.into(), claims: Map::new(), client_auth: None }
    }

    /// For whom the token is (`sub`); the issuer itself unless set. With an empty one the JWT has no subject, as
    /// Google wants it of an account that acts for nobody else.
    #[must_use]
    pub fn subject(self, subject: impl Into<String>) -> Self {
        let subject = subject.into();
        let subject = if subject.is_empty() { Value::Null } else { subject.into() };
        self.claim("sub", subject)
    }

    /// For whom the JWT is meant (`aud`), in the place of the token endpoint's URI. An empty one is the
    /// default again.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.terms.set_audience(audience.into());
        self
    }

    /// A claim of the JWT, in the place of any other of this name, those that are made here among them; `null` leaves
    /// it out.
    #[must_use]
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }

    /// How long the JWT is good for, in whole seconds; 60 unless set, and one at least.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.terms.lifetime = lifetime;
        self
    }

    /// How the client proves who it is besides, where the server wants to know that too (RFC 7521 section 4.1).
    #[must_use]
    pub fn client_auth(mut self, client_auth: ClientAuth) -> Self {
        self.client_auth = Some(client_auth);
        self
    }

    fn claims(&self, request: &TokenRequestParts) -> Result<Map<String, Value>, BoxError> {
        let mut claims = self.terms.claims(request)?;
        claims.extend(self.claims.clone());
        claims.retain(|_, value| !value.is_null());
        Ok(claims)
    }
}

impl ClientAuth {
    /// The JWT bearer grant: a JWT is signed as `issuer` for each attempt, and the token is granted for it (RFC 7523
    /// section 2.1). See [`JwtBearer`] for what can be set.
    pub fn jwt_bearer(issuer: impl Into<String>, key: impl Into<AssertionKey>) -> Self {
        Self::custom(JwtBearer::new(issuer, key))
    }
}

impl ClientAuthentication for JwtBearer {
    fn method(&self) -> &str {
        "jwt_bearer"
    }

    fn client_id(&self) -> Option<&str> {
        self.client_auth.as_ref()?.client_id()
    }

    fn identity(&self) -> Vec<u8> {
        let [kind, algorithm, kid, key] = self.key.identity();
        let claims = Zeroizing::new(by_name(&self.claims));
        let client = self.client_auth.as_ref();
        let client_method = client.map(ClientAuth::method).unwrap_or_default();
        let client_identity = Zeroizing::new(client.map(ClientAuth::identity).unwrap_or_default());
        list(&[
            &kind,
            &algorithm,
            &kid,
            &key,
            self.terms.issuer.as_bytes(),
            self.terms.audience_bytes(),
            &claims,
            client_method.as_bytes(),
            &client_identity,
        ])
    }

    fn version(&self) -> u64 {
        match &self.client_auth {
            None => self.key.version(),
            Some(client) => {
                let mut both = DefaultHasher::new();
                (self.key.version(), client.version()).hash(&mut both);
                both.finish()
            }
        }
    }

    async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
        // The token would be granted for one of the two, and nobody could tell for which.
        let other = request.parameter("grant_type").filter(|other| *other != GRANT_TYPE);
        if other.is_some_and(|other| other != CLIENT_CREDENTIALS) {
            return Err(
                ConfigError::new("JWT bearer grant", "can not go with another grant").into()
            );
        }
        if let Some(client) = &self.client_auth {
            client.authenticate(request).await?;
        }
        let claims = self.claims(request)?;
        let assertion = self.key.sign(header(), claims, request.deadline()).await?;
        request.set_parameter("grant_type", GRANT_TYPE);
        request.set_parameter("assertion", assertion.as_str());
        Ok(())
    }
}

/// One spelling for equal claims: a map of JSON may keep the order in which its members came.
fn by_name(claims: &Map<String, Value>) -> Vec<u8> {
    let mut claims: Vec<_> = claims.iter().collect();
    claims.sort_unstable_by_key(|(name, _)| *name);
    let values: Vec<_> =
        claims.iter().map(|(_, value)| Zeroizing::new(value.to_string())).collect();
    let texts = claims.iter().zip(&values);
    let texts: Vec<_> =
        texts.flat_map(|((name, _), value)| [name.as_bytes(), value.as_bytes()]).collect();
    list(&texts)
}

impl fmt::Debug for JwtBearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtBearer")
            .field("key", &self.key)
            .field("client_auth", &self.client_auth)
            .finish_non_exhaustive()
    }
}
