use std::fmt;
use std::str::FromStr;

use crate::error::ConfigError;

/// Names a signature algorithm for JWTs (RFC 7518 section 3.1, RFC 8037 section 3.1).
///
/// `Display` and `FromStr` use the registered names.
///
/// # Example
///
/// ```
/// use tower_oauth2::jwt::Algorithm;
///
/// assert_eq!("ES256".parse(), Ok(Algorithm::ES256));
/// assert_eq!(Algorithm::EdDSA.to_string(), "EdDSA");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// Signs by ECDSA with P-256 and SHA-256.
    ES256,
    /// Signs by ECDSA with P-384 and SHA-384.
    ES384,
    /// Signs by ECDSA with P-521 and SHA-512.
    ///
    /// A [`SigningKey`](super::SigningKey) for it needs the feature `aws-lc-rs`. A custom
    /// [`Signer`](super::Signer) does not.
    ES512,
    /// Signs by RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// Signs by RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// Signs by RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// Signs by RSASSA-PSS with SHA-256.
    PS256,
    /// Signs by RSASSA-PSS with SHA-384.
    PS384,
    /// Signs by RSASSA-PSS with SHA-512.
    PS512,
    /// Signs by EdDSA with Ed25519.
    EdDSA,
}

impl Algorithm {
    const ALL: [Self; 10] = [
        Self::ES256,
        Self::ES384,
        Self::ES512,
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::EdDSA,
    ];

    /// Returns the length of a signature, if it is the same for all keys.
    pub(super) fn signature_len(self) -> Option<usize> {
        match self {
            Self::ES256 | Self::EdDSA => Some(64),
            Self::ES384 => Some(96),
            Self::ES512 => Some(132),
            Self::RS256 | Self::RS384 | Self::RS512 | Self::PS256 | Self::PS384 | Self::PS512 => {
                None
            }
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The variants have the registered names.
        fmt::Debug::fmt(self, f)
    }
}

impl FromStr for Algorithm {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        // The second name of RFC 9864 section 2.2.
        let registered = if name == "Ed25519" { "EdDSA" } else { name };
        let known = Self::ALL.into_iter().find(|known| known.to_string() == registered);
        known.ok_or_else(|| {
            let problem =
                "must be ES256, ES384, ES512, RS256, RS384, RS512, PS256, PS384, PS512 or EdDSA";
            ConfigError::new("algorithm", problem).with_value(name)
        })
    }
}
