use std::borrow::Cow;
use std::fmt;

/// Names the type of a token in a token exchange (RFC 8693 section 3).
///
/// Any other URI converts into a `TokenType`.
///
/// # Example
///
/// ```
/// use tower_oauth2::grant::TokenType;
///
/// let access_token = TokenType::from("urn:ietf:params:oauth:token-type:access_token");
/// assert_eq!(access_token, TokenType::ACCESS_TOKEN);
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TokenType(Cow<'static, str>);

impl TokenType {
    /// Names an OAuth 2.0 access token.
    pub const ACCESS_TOKEN: Self = Self::named("urn:ietf:params:oauth:token-type:access_token");
    /// Names an OAuth 2.0 refresh token.
    pub const REFRESH_TOKEN: Self = Self::named("urn:ietf:params:oauth:token-type:refresh_token");
    /// Names an ID token of OpenID Connect.
    pub const ID_TOKEN: Self = Self::named("urn:ietf:params:oauth:token-type:id_token");
    /// Names an identity assertion JWT authorization grant.
    pub const ID_JAG: Self = Self::named("urn:ietf:params:oauth:token-type:id-jag");
    /// Names a SAML 1.1 assertion in base64url.
    pub const SAML1: Self = Self::named("urn:ietf:params:oauth:token-type:saml1");
    /// Names a SAML 2.0 assertion in base64url.
    pub const SAML2: Self = Self::named("urn:ietf:params:oauth:token-type:saml2");
    /// Names a JWT for any use.
    pub const JWT: Self = Self::named("urn:ietf:params:oauth:token-type:jwt");

    const fn named(uri: &'static str) -> Self {
        Self(Cow::Borrowed(uri))
    }

    /// Returns the URI of the type.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for TokenType {
    fn from(uri: &str) -> Self {
        Self(uri.to_owned().into())
    }
}

impl From<String> for TokenType {
    fn from(uri: String) -> Self {
        Self(uri.into())
    }
}

impl fmt::Debug for TokenType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
