//! Lists the elliptic curves of ECDSA keys (RFC 7518 section 3.4).

#[cfg(not(feature = "aws-lc-rs"))]
use super::KEY;
#[cfg(feature = "aws-lc-rs")]
use crate::crypto::signature::ECDSA_P521_SHA512_FIXED_SIGNING;
use crate::crypto::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaSigningAlgorithm,
};
use crate::error::ConfigError;
use crate::jwt::Algorithm;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    /// A key can be on it only with the backend `aws-lc-rs`.
    P521,
}

/// The curves that keys can be on, for errors.
#[cfg(feature = "aws-lc-rs")]
pub(super) const MUST_BE_SUPPORTED: &str = "must be on P-256, P-384 or P-521";
#[cfg(not(feature = "aws-lc-rs"))]
pub(super) const MUST_BE_SUPPORTED: &str =
    "must be on P-256 or P-384, or on P-521 with the feature `aws-lc-rs`";

impl Curve {
    /// Returns the curve with the name of RFC 7518 section 6.2.1.1.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::P256, Self::P384, Self::P521].into_iter().find(|curve| curve.name() == name)
    }

    /// Returns the curve with the object identifier of RFC 5480 section 2.1.1.1.
    pub(super) fn from_oid(oid: &[u8]) -> Option<Self> {
        match oid {
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07] => Some(Self::P256),
            [0x2b, 0x81, 0x04, 0x00, 0x22] => Some(Self::P384),
            [0x2b, 0x81, 0x04, 0x00, 0x23] => Some(Self::P521),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    pub(super) fn algorithm(self) -> Algorithm {
        match self {
            Self::P256 => Algorithm::ES256,
            Self::P384 => Algorithm::ES384,
            Self::P521 => Algorithm::ES512,
        }
    }

    /// Returns the length of a private number and of a coordinate, in bytes.
    pub(super) fn len(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// Returns how to sign, or an error if the backend does not support the curve.
    pub(super) fn signing(self) -> Result<&'static EcdsaSigningAlgorithm, ConfigError> {
        match self {
            Self::P256 => Ok(&ECDSA_P256_SHA256_FIXED_SIGNING),
            Self::P384 => Ok(&ECDSA_P384_SHA384_FIXED_SIGNING),
            #[cfg(feature = "aws-lc-rs")]
            Self::P521 => Ok(&ECDSA_P521_SHA512_FIXED_SIGNING),
            #[cfg(not(feature = "aws-lc-rs"))]
            Self::P521 => Err(ConfigError::new(KEY, MUST_BE_SUPPORTED).with_value(self.name())),
        }
    }
}
