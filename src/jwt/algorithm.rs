use std::fmt;
use std::str::FromStr;

use crate::error::ConfigError;

/// A signature algorithm for JWTs (RFC 7518 section 3.1, RFC 8037 section 3.1).
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
    /// ECDSA with P-256 and SHA-256.
    ES256,
    /// ECDSA with P-384 and SHA-384.
    ES384,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// Ed25519.
    EdDSA,
}

impl Algorithm {
    /// Returns the length of a signature, if it is the same for all keys.
    pub(super) fn signature_len(self) -> Option<usize> {
        match self {
            Self::ES256 | Self::EdDSA => Some(64),
            Self::ES384 => Some(96),
            Self::RS256 | Self::PS256 => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::RS256 => "RS256",
            Self::PS256 => "PS256",
            Self::EdDSA => "EdDSA",
        })
    }
}

impl FromStr for Algorithm {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        match name {
            "ES256" => Ok(Self::ES256),
            "ES384" => Ok(Self::ES384),
            "RS256" => Ok(Self::RS256),
            "PS256" => Ok(Self::PS256),
            // The second name of RFC 9864 section 2.2.
            "EdDSA" | "Ed25519" => Ok(Self::EdDSA),
            _ => {
                let problem = "must be ES256, ES384, RS256, PS256 or EdDSA";
                Err(ConfigError::new("algorithm", problem).with_value(name))
            }
        }
    }
}
