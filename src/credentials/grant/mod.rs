//! Describes the authorizations that token requests are based on (RFC 6749 section 1.3).

pub(crate) mod jwt_bearer;
mod parameter;
mod refresh_token;
pub(crate) mod token_exchange;
mod token_type;

use std::borrow::Cow;
use std::fmt;

pub use self::jwt_bearer::JwtBearer;
pub(crate) use self::parameter::GrantParameter;
pub use self::refresh_token::{RefreshToken, RotatedToken};
pub use self::token_exchange::TokenExchange;
pub use self::token_type::TokenType;
use crate::error::GrantKind;
use crate::secret::{Identity, Secret};

/// Describes the authorization that a token request is based on (RFC 6749 section 1.3).
///
/// Pass it to [`Credentials::grant`](crate::Credentials::grant). Credentials have one grant, which
/// is the client credentials grant by default. [`JwtBearer`], [`TokenExchange`] and
/// [`RefreshToken`] convert into a `Grant`.
///
/// # Example
///
/// A server with its own type of grant:
///
/// ```
/// use tower_oauth2::{ClientAuth, Credentials};
/// use tower_oauth2::grant::Grant;
///
/// let auth = ClientAuth::client_secret_basic("client-id", "s3cr3t");
/// let credentials = Credentials::new("https://zoom.us/oauth/token", auth)?
///     .grant(Grant::custom("account_credentials"))
///     .parameter("account_id", "17");
/// # let _ = credentials;
/// # Ok::<(), tower_oauth2::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Grant(Kind);

#[derive(Clone)]
enum Kind {
    ClientCredentials,
    Custom(Cow<'static, str>),
    JwtBearer(Box<JwtBearer>),
    TokenExchange(Box<TokenExchange>),
    RefreshToken(RefreshToken),
    /// Sends the refresh token of one token request.
    CurrentRefreshToken(Secret),
}

/// RFC 6749 section 4.4.2
pub(crate) const CLIENT_CREDENTIALS: &str = "client_credentials";

/// The type of the grant, and the name of its parameter (RFC 6749 section 6).
pub(crate) const REFRESH_TOKEN: &str = "refresh_token";

/// Returns which grant a `grant_type` names.
pub(crate) fn grant_kind(grant_type: &str) -> GrantKind {
    match grant_type {
        CLIENT_CREDENTIALS => GrantKind::ClientCredentials,
        REFRESH_TOKEN => GrantKind::RefreshToken,
        jwt_bearer::GRANT_TYPE => GrantKind::JwtBearer,
        token_exchange::GRANT_TYPE => GrantKind::TokenExchange,
        _ => GrantKind::Other,
    }
}

/// Returns whether the grant is polled until the user has decided.
///
/// These are the device grant (RFC 8628 section 3.4) and CIBA (OpenID Connect Client-Initiated
/// Backchannel Authentication section 10.1).
pub(crate) fn is_polled(grant_type: &str) -> bool {
    ["urn:ietf:params:oauth:grant-type:device_code", "urn:openid:params:grant-type:ciba"]
        .contains(&grant_type)
}

impl Grant {
    /// Creates the client credentials grant (RFC 6749 section 4.4).
    ///
    /// The token is the client's own.
    #[doc(alias("machine-to-machine", "m2m", "two-legged"))]
    #[doc(alias = "service account")]
    pub fn client_credentials() -> Self {
        Self(Kind::ClientCredentials)
    }

    /// Creates a grant of another type, which is the value of `grant_type`.
    ///
    /// Set its parameters with [`Credentials::parameter`](crate::Credentials::parameter). With an
    /// empty `grant_type`, the parameter is left out.
    ///
    /// The device grant (RFC 8628) and CIBA are polled at an interval, which the caller keeps. Of
    /// their error responses, only those with a status that may pass are retried. The
    /// code `slow_down` is neither retried nor [transient](crate::TokenError::is_transient).
    #[doc(alias("password", "device_code", "authorization_code"))]
    #[doc(alias = "grant_type")]
    pub fn custom(grant_type: impl Into<Cow<'static, str>>) -> Self {
        Self(Kind::Custom(grant_type.into()))
    }

    /// Creates the grant of one token request with a refresh token.
    pub(crate) fn current_refresh_token(refresh_token: &str) -> Self {
        Self(Kind::CurrentRefreshToken(refresh_token.into()))
    }

    /// Returns the refresh token, whose current secret is sent by a layer.
    pub(crate) fn refresh_token(&self) -> Option<&RefreshToken> {
        match &self.0 {
            Kind::RefreshToken(refresh_token) => Some(refresh_token),
            _ => None,
        }
    }

    /// Returns the value of `grant_type`.
    pub(super) fn grant_type(&self) -> &str {
        match &self.0 {
            Kind::ClientCredentials => CLIENT_CREDENTIALS,
            Kind::Custom(grant_type) => grant_type,
            Kind::JwtBearer(_) => jwt_bearer::GRANT_TYPE,
            Kind::TokenExchange(_) => token_exchange::GRANT_TYPE,
            Kind::RefreshToken(_) | Kind::CurrentRefreshToken(_) => REFRESH_TOKEN,
        }
    }

    /// Returns the parameters that the token request has because of this grant.
    pub(super) fn parameters(&self) -> Vec<(&'static str, GrantParameter<'_>)> {
        let mut all = Vec::new();
        if !self.grant_type().is_empty() {
            all.push(("grant_type", GrantParameter::Text(self.grant_type())));
        }
        match &self.0 {
            Kind::ClientCredentials | Kind::Custom(_) | Kind::RefreshToken(_) => {}
            Kind::JwtBearer(grant) => all.push(("assertion", grant.assertion_parameter())),
            Kind::TokenExchange(grant) => grant.add_parameters(&mut all),
            Kind::CurrentRefreshToken(secret) => {
                all.push((REFRESH_TOKEN, GrantParameter::Secret(secret, "refresh token")));
            }
        }
        all
    }

    /// Adds the data that distinguishes the grant from others.
    pub(super) fn identify(&self, identity: &mut Identity) {
        identity.part(self.grant_type());
        match &self.0 {
            Kind::ClientCredentials => identity.part("client credentials"),
            Kind::Custom(_) => identity.part("custom"),
            Kind::JwtBearer(grant) => identity.nested(|identity| grant.identify(identity)),
            Kind::TokenExchange(grant) => identity.nested(|identity| grant.identify(identity)),
            // The name identifies the grant, because the secret changes.
            Kind::RefreshToken(refresh_token) => identity.part("name").part(refresh_token.name()),
            Kind::CurrentRefreshToken(secret) => identity.secret(secret),
        };
    }

    /// Returns a different number whenever a secret of the grant has changed.
    pub(super) fn version(&self) -> u64 {
        match &self.0 {
            Kind::ClientCredentials | Kind::Custom(_) => 0,
            Kind::JwtBearer(grant) => grant.version(),
            Kind::TokenExchange(grant) => grant.version(),
            Kind::RefreshToken(refresh_token) => refresh_token.version(),
            Kind::CurrentRefreshToken(secret) => secret.current_version(),
        }
    }
}

impl From<JwtBearer> for Grant {
    fn from(grant: JwtBearer) -> Self {
        Self(Kind::JwtBearer(Box::new(grant)))
    }
}

impl From<TokenExchange> for Grant {
    fn from(grant: TokenExchange) -> Self {
        Self(Kind::TokenExchange(Box::new(grant)))
    }
}

impl From<RefreshToken> for Grant {
    fn from(grant: RefreshToken) -> Self {
        Self(Kind::RefreshToken(grant))
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::ClientCredentials => f.write_str("Grant(client_credentials)"),
            Kind::Custom(grant_type) => write!(f, "Grant({grant_type:?})"),
            Kind::JwtBearer(grant) => write!(f, "Grant({grant:?})"),
            Kind::TokenExchange(grant) => write!(f, "Grant({grant:?})"),
            Kind::RefreshToken(grant) => write!(f, "Grant({grant:?})"),
            Kind::CurrentRefreshToken(_) => f.write_str("Grant(refresh_token)"),
        }
    }
}
