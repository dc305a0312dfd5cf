use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tower::BoxError;
use zeroize::Zeroizing;

use super::assertion_claims::{AssertionClaims, JwtContext};
use super::certificate::Thumbprints;
use super::{Audience, DynSigner, KeyFile, Signer, sign};
use crate::error::ConfigError;
use crate::secret::{Identity, wait_until_deadline};
use crate::util::invisible::fault_of_text;

/// Creates and signs a JWT for each attempt.
///
/// It has a key and the settings of the claims. Functions that take a `SignedJwt` also take a
/// [`SigningKey`](super::SigningKey), a [`KeyFile`] or a custom [`Signer`], and create JWTs with
/// the default claims:
///
/// | claim | value |
/// |---|---|
/// | `iss` | the issuer of the JWT: the client id for client authentication |
/// | `sub` | the same, unless [`subject`](Self::subject) is set |
/// | `aud` | see [`Audience`] |
/// | `iat` | 15 seconds ago, because servers whose clock is behind refuse a time of the future |
/// | `exp` | `iat` plus the [`lifetime`](Self::lifetime) |
/// | `jti` | 128 random bits |
///
/// The times follow the server's clock if it is known to differ
/// ([`TokenRequestParts::now`](crate::client_auth::TokenRequestParts::now)).
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower_oauth2::ClientAuth;
/// use tower_oauth2::jwt::{Algorithm, SignedJwt, SigningKey};
///
/// let key = SigningKey::generate(Algorithm::ES256)?.with_kid("2026-01");
/// let jwt = SignedJwt::new(key)
///     .audience("https://auth.example.com")
///     .lifetime(Duration::from_secs(30));
/// let auth = ClientAuth::private_key_jwt("client-id", jwt);
/// # let _ = auth;
/// # Ok::<(), tower_oauth2::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct SignedJwt {
    key: Key,
    claims: AssertionClaims,
    typ: String,
    /// The thumbprints of the key's certificate, or the error of one that cannot be used.
    certificate: Option<Result<Thumbprints, ConfigError>>,
}

#[derive(Clone)]
enum Key {
    Signer(Arc<dyn DynSigner>),
    File(KeyFile),
}

impl SignedJwt {
    /// Creates a JWT that is signed with `key`.
    pub fn new(key: impl Into<Self>) -> Self {
        key.into()
    }

    /// Sets the audience (`aud`).
    #[must_use]
    pub fn audience(mut self, audience: impl Into<Audience>) -> Self {
        self.claims.set_audience(audience.into());
        self
    }

    /// Sets the subject (`sub`), or removes the claim if it is empty.
    #[must_use]
    pub fn subject(self, subject: impl Into<String>) -> Self {
        let subject = subject.into();
        let subject = if subject.is_empty() { Value::Null } else { subject.into() };
        self.claim("sub", subject)
    }

    /// Sets a claim, or removes it if the value is `null`.
    ///
    /// It replaces any other claim of this name.
    #[must_use]
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.claims.set_claim(name.into(), value.into());
        self
    }

    /// Adds `nbf`, the time before which the JWT is not valid.
    ///
    /// It has the value of `iat`. Few servers require it. Some servers whose clock is behind accept
    /// an `iat` in the future, but no `nbf` in the future.
    #[must_use]
    pub fn not_before(mut self) -> Self {
        self.claims.add_not_before();
        self
    }

    /// Sets the `typ` header, which is `JWT` by default.
    ///
    /// An empty text removes it.
    #[must_use]
    pub fn typ(mut self, typ: impl Into<String>) -> Self {
        self.typ = typ.into();
        self
    }

    /// Sets the time from `iat` to `exp`.
    ///
    /// It counts in whole seconds, and at least one. With the default of 75 seconds, the JWT ends a
    /// minute from now, because `iat` is 15 seconds ago.
    ///
    /// For a lifetime of less than 30 seconds, `iat` is set back by half of it.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.claims.set_lifetime(lifetime);
        self
    }

    /// Puts the thumbprints of the key's certificate into the header of the JWT.
    ///
    /// `x5t#S256` is the SHA-256 thumbprint, and `x5t` the SHA-1 thumbprint (RFC 7515 sections
    /// 4.1.7 and 4.1.8). `certificate` is an X.509 certificate as DER or PEM. If a PEM text has
    /// several certificates, the first one is used, which is the client's own one in a chain.
    /// Microsoft Entra ID and AD FS find the key by a thumbprint; most servers find it by `kid`.
    ///
    /// Anything other than a certificate is an error when [`Credentials`](crate::Credentials) are
    /// created.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use tower_oauth2::ClientAuth;
    /// use tower_oauth2::jwt::{Algorithm, KeyFile, SignedJwt};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let key = KeyFile::new("/run/secrets/client-key.pem").algorithm(Algorithm::PS256);
    /// let certificate = std::fs::read("/run/secrets/client-certificate.pem")?;
    /// let jwt = SignedJwt::new(key).certificate(certificate);
    /// let auth = ClientAuth::private_key_jwt("client-id", jwt);
    /// # let _ = auth;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias("x5t", "x5t#S256", "thumbprint"))]
    #[must_use]
    pub fn certificate(mut self, certificate: impl AsRef<[u8]>) -> Self {
        self.certificate = Some(Thumbprints::of(certificate.as_ref()));
        self
    }

    /// Returns the time from now to `exp`.
    pub(crate) fn remaining_lifetime(&self) -> Duration {
        self.claims.remaining_lifetime()
    }

    /// Adds the data that distinguishes the JWT from others.
    pub(crate) fn identify(&self, identity: &mut Identity) {
        match &self.key {
            Key::Signer(signer) => {
                identity.part("signer").part(signer.algorithm().to_string());
                identity.part(signer.kid().unwrap_or_default());
                identity.nested(|identity| signer.identify(identity));
            }
            Key::File(file) => {
                identity.part("file").nested(|identity| file.identify(identity));
            }
        }
        let sha256 = self.thumbprints().map(|thumbprints| &*thumbprints.sha256);
        identity.part(&self.typ).part(sha256.unwrap_or_default());
        identity.nested(|identity| self.claims.identify(identity));
    }

    fn thumbprints(&self) -> Option<&Thumbprints> {
        self.certificate.as_ref()?.as_ref().ok()
    }

    /// Returns an error if the certificate or the name of the key is invalid.
    ///
    /// The name must have no invisible characters.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if let Some(Err(error)) = &self.certificate {
            return Err(error.clone());
        }
        let kid = match &self.key {
            Key::Signer(signer) => signer.kid(),
            Key::File(file) => file.given_kid(),
        };
        ConfigError::check("key id", kid.and_then(fault_of_text))
    }

    /// Returns a different number whenever the key has changed.
    pub(crate) fn version(&self) -> u64 {
        match &self.key {
            Key::Signer(signer) => signer.version(),
            Key::File(file) => file.version(),
        }
    }

    /// Creates the JWT of `issuer`. Fails with [`SecretTimeout`](crate::secret::SecretTimeout) at
    /// the deadline.
    pub(crate) async fn sign(
        &self,
        issuer: &str,
        context: &JwtContext<'_>,
    ) -> Result<Zeroizing<String>, BoxError> {
        self.check()?;
        ConfigError::check("issuer of the JWT", fault_of_text(issuer))?;
        let claims = self.claims.claims(issuer, context)?;
        wait_until_deadline(context.deadline, &self.key, self.sign_claims(claims)).await
    }

    async fn sign_claims(&self, claims: Map<String, Value>) -> Result<Zeroizing<String>, BoxError> {
        let read;
        let signer: &dyn DynSigner = match &self.key {
            Key::Signer(signer) => &**signer,
            Key::File(file) => {
                read = file.read().await?;
                &read
            }
        };
        let fields = [
            ("typ", Some(&*self.typ).filter(|typ| !typ.is_empty())),
            ("x5t", self.thumbprints().map(|thumbprints| &*thumbprints.sha1)),
            ("x5t#S256", self.thumbprints().map(|thumbprints| &*thumbprints.sha256)),
            ("kid", signer.kid()),
        ];
        let fields =
            fields.into_iter().filter_map(|(name, value)| Some((name.into(), value?.into())));
        sign(signer, fields.collect(), &Value::Object(claims)).await
    }
}

impl<S: Signer> From<S> for SignedJwt {
    fn from(signer: S) -> Self {
        Key::Signer(Arc::new(signer)).into()
    }
}

impl From<KeyFile> for SignedJwt {
    fn from(file: KeyFile) -> Self {
        Key::File(file).into()
    }
}

impl From<Key> for SignedJwt {
    fn from(key: Key) -> Self {
        Self { key, claims: AssertionClaims::default(), typ: "JWT".to_owned(), certificate: None }
    }
}

impl fmt::Debug for SignedJwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedJwt").field("key", &self.key).finish_non_exhaustive()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signer(signer) => f
                .debug_struct("Signer")
                .field("algorithm", &signer.algorithm())
                .field("kid", &signer.kid())
                .finish_non_exhaustive(),
            Self::File(file) => file.fmt(f),
        }
    }
}
