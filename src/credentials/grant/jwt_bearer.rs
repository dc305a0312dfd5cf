use std::fmt;

use super::GrantParameter;
#[cfg(feature = "jwt")]
use crate::jwt::SignedJwt;
use crate::secret::{Identity, Secret};

/// RFC 7523 section 2.1
pub(crate) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Requests a token with a JWT as the grant (RFC 7523 section 2.1).
///
/// Another party creates the JWT ([`assertion`](Self::assertion)), or this crate signs one for each
/// attempt ([`signed`](Self::signed)), as for service accounts of Google and integrations of
/// Salesforce.
///
/// If the server does not require that the client authenticates too, use
/// [`ClientAuth::anonymous`](crate::ClientAuth::anonymous). Do not confuse the grant with
/// [`ClientAuth::private_key_jwt`](crate::ClientAuth::private_key_jwt), where a JWT authenticates
/// the client, and the token is the client's own.
///
/// # Example
///
/// A service account at Google, with the scope in the JWT, that acts for a user:
///
/// ```
/// # #[cfg(feature = "jwt")]
/// # fn main() -> Result<(), tower_oauth2::ConfigError> {
/// use tower_oauth2::{ClientAuth, Credentials};
/// use tower_oauth2::grant::JwtBearer;
/// use tower_oauth2::jwt::{Algorithm, SignedJwt, SigningKey};
///
/// // Usually from the `private_key` of the account's key file.
/// let key = SigningKey::generate(Algorithm::ES256)?;
/// let jwt = SignedJwt::new(key)
///     .subject("alice@example.com")
///     .claim("scope", "https://www.example.com/auth/calendar");
/// let credentials = Credentials::new("https://oauth2.example.com/token", ClientAuth::anonymous())?
///     .grant(JwtBearer::signed("robot@project.iam.example.com", jwt));
/// # let _ = credentials;
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "jwt"))]
/// # fn main() {}
/// ```
#[derive(Clone)]
pub struct JwtBearer(Assertion);

#[derive(Clone)]
enum Assertion {
    Given(Secret),
    #[cfg(feature = "jwt")]
    Signed(Box<str>, SignedJwt),
}

impl JwtBearer {
    /// Creates a grant for a JWT that another party has created.
    ///
    /// It is read for each attempt. If it is empty, token requests fail before anything is sent.
    pub fn assertion(assertion: impl Into<Secret>) -> Self {
        Self(Assertion::Given(assertion.into()))
    }

    /// Creates a grant for a JWT that this crate signs for each attempt.
    ///
    /// `issuer` is the `iss` claim. `jwt` is a [`SignedJwt`], or a key to sign it with.
    #[cfg(feature = "jwt")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwt")))]
    pub fn signed(issuer: impl Into<String>, jwt: impl Into<SignedJwt>) -> Self {
        Self(Assertion::Signed(issuer.into().into(), jwt.into()))
    }

    #[cfg(not(feature = "jwt"))]
    #[doc(hidden)]
    pub fn signed<J: crate::client_auth::NeedsJwt>(_issuer: impl Into<String>, jwt: J) -> Self {
        jwt.never()
    }

    pub(super) fn assertion_parameter(&self) -> GrantParameter<'_> {
        match &self.0 {
            Assertion::Given(assertion) => GrantParameter::Secret(assertion, "assertion"),
            #[cfg(feature = "jwt")]
            Assertion::Signed(issuer, jwt) => GrantParameter::Jwt(issuer, jwt),
        }
    }

    pub(super) fn identify(&self, identity: &mut Identity) {
        match &self.0 {
            Assertion::Given(assertion) => {
                identity.part("given").secret(assertion);
            }
            #[cfg(feature = "jwt")]
            Assertion::Signed(issuer, jwt) => {
                identity.part("signed").part(issuer.as_bytes());
                identity.nested(|identity| jwt.identify(identity));
            }
        }
    }

    pub(super) fn version(&self) -> u64 {
        match &self.0 {
            Assertion::Given(assertion) => assertion.current_version(),
            #[cfg(feature = "jwt")]
            Assertion::Signed(_, jwt) => jwt.version(),
        }
    }
}

impl fmt::Debug for JwtBearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("JwtBearer");
        match &self.0 {
            Assertion::Given(assertion) => debug.field("assertion", assertion),
            #[cfg(feature = "jwt")]
            Assertion::Signed(_, jwt) => debug.field("jwt", jwt),
        };
        debug.finish_non_exhaustive()
    }
}
