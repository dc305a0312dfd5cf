/// Says for which audience a JWT is created (`aud`, RFC 7519 section 4.1.3).
///
/// By default, the audience is the issuer if the credentials come from the issuer's metadata, and
/// otherwise the token endpoint. So metadata that name the token endpoint of another server obtain
/// no assertion that is valid there.
///
/// # Example
///
/// A server that requires its token endpoint as the audience, with credentials from its metadata:
///
/// ```
/// use tower_oauth2::ClientAuth;
/// use tower_oauth2::jwt::{Audience, KeyFile, SignedJwt};
///
/// let key = KeyFile::new("/run/secrets/key.pem");
/// let jwt = SignedJwt::new(key).audience(Audience::TokenEndpoint);
/// let auth = ClientAuth::private_key_jwt("client-id", jwt);
/// # let _ = auth;
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Audience {
    /// Uses the issuer identifier of the authorization server (RFC 8414 section 2).
    ///
    /// It is known for credentials from
    /// [`Credentials::from_issuer`](crate::Credentials::from_issuer) and
    /// [`Metadata::credentials`](crate::metadata::Metadata::credentials). For others, creating the
    /// JWT fails.
    Issuer,
    /// Uses the token endpoint's URI, spelled as in the configuration or the metadata.
    ///
    /// Some servers, such as Ory Hydra, accept nothing else. Set it only for an issuer that you
    /// trust: metadata that name the token endpoint of another server obtain an assertion that is
    /// valid there (CVE-2025-27370).
    TokenEndpoint,
    /// Uses this text, or the default if it is empty.
    Custom(String),
}

impl Audience {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Custom(audience) if audience.is_empty())
    }
}

impl From<&str> for Audience {
    fn from(audience: &str) -> Self {
        Self::Custom(audience.to_owned())
    }
}

impl From<String> for Audience {
    fn from(audience: String) -> Self {
        Self::Custom(audience)
    }
}
