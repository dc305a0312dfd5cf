//! Describes the parameters of a grant, some of which are read for each request.

use tower::BoxError;
use zeroize::Zeroizing;

use crate::client_auth::TokenRequestParts;
use crate::error::ConfigError;
#[cfg(feature = "jwt")]
use crate::jwt::SignedJwt;
use crate::secret::Secret;

/// A parameter of a grant.
pub(crate) enum GrantParameter<'a> {
    Text(&'a str),
    /// The type of a token, with the name of the token for errors. It must not be empty.
    TokenType(&'a str, &'static str),
    /// A secret, with its name for errors. It is checked before anything is sent.
    Secret(&'a Secret, &'static str),
    /// A JWT that is created for each request.
    #[cfg(feature = "jwt")]
    Jwt(&'a str, &'a SignedJwt),
}

impl<'a> GrantParameter<'a> {
    /// Returns the value, if it is known without reading or creating anything.
    pub(crate) fn text(&self) -> Option<&'a str> {
        match *self {
            Self::Text(text) | Self::TokenType(text, _) => Some(text),
            Self::Secret(secret, _) => secret.text(),
            #[cfg(feature = "jwt")]
            Self::Jwt(..) => None,
        }
    }

    /// Reads or creates the value for a request.
    pub(crate) async fn read(
        &self,
        request: &TokenRequestParts,
    ) -> Result<Zeroizing<String>, BoxError> {
        match *self {
            Self::Text(text) => Ok(Zeroizing::new(text.to_owned())),
            Self::TokenType("", token) => {
                Err(ConfigError::new(token, "needs a type, such as TokenType::ACCESS_TOKEN").into())
            }
            Self::TokenType(token_type, _) => Ok(Zeroizing::new(token_type.to_owned())),
            Self::Secret(secret, name) => {
                secret.check(name)?;
                secret.read(request.deadline()).await
            }
            #[cfg(feature = "jwt")]
            Self::Jwt(issuer, jwt) => jwt.sign(issuer, &request.jwt_context()).await,
        }
    }
}
