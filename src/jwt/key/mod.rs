//! Private keys.

mod der;
mod jwk;
mod pem;

use std::fmt;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use serde_json::Value;
use tower::BoxError;
use zeroize::Zeroizing;

use super::{Algorithm, Signer, encode};
use crate::error::ConfigError;

const KEY: &str = "signing key";

/// A private key that signs JWTs: EC (P-256, P-384), RSA (2048 to 4096 bits) or Ed25519.
///
/// Cheap to clone. `Debug` shows its algorithm and its `kid`. Copies that this crate makes while it reads a key
/// are wiped from memory; the key itself is in the hands of `ring`, which does not wipe it.
///
/// # Example
///
/// ```
/// use tower_oauth2::jwt::{Algorithm, SigningKey};
///
/// # fn main() -> Result<(), tower_oauth2::ConfigError> {
/// // Usually `SigningKey::from_pem(&pem)` or `SigningKey::from_jwk(&json)`.
/// let key = SigningKey::generate(Algorithm::ES256)?.with_kid("2026-01");
/// assert_eq!(format!("{key:?}"), r#"SigningKey { algorithm: ES256, kid: Some("2026-01"), .. }"#);
/// assert_eq!(key.public_jwk()["crv"], "P-256");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SigningKey {
    algorithm: Algorithm,
    kid: Option<Arc<str>>,
    pair: Arc<Pair>,
}

/// A key that may be used, and its public part.
enum Pair {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// The one private key in a PEM text (RFC 7468): `PRIVATE KEY` (PKCS#8), `RSA PRIVATE KEY`
    /// (PKCS#1) or `EC PRIVATE KEY` (SEC 1). Certificates beside it play no part.
    ///
    /// An RSA key signs with `RS256`, unless told otherwise with [`with_algorithm`](Self::with_algorithm).
    ///
    /// # Errors
    ///
    /// A text with no private key or several, one that is encrypted or broken off, a key of a kind or
    /// size that is not supported, an EC key without its public part. No error quotes anything of the text.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        pem::read(pem.as_ref()).map(Self::new)
    }

    /// A private key in DER, which is what PEM has within: PKCS#8 (RFC 5958), PKCS#1 or SEC 1.
    ///
    /// # Errors
    ///
    /// As [`from_pem`](Self::from_pem).
    pub fn from_der(der: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        der::read(der.as_ref()).map(Self::new)
    }

    /// A private key as a JSON Web Key (RFC 7517): `EC` with `P-256` or `P-384`, `RSA` with all of
    /// its parameters (RFC 7518 section 6.3.2), or `OKP` with `Ed25519` (RFC 8037). Its `kid` and
    /// `alg` are used.
    ///
    /// # Errors
    ///
    /// A text that is no such JWK, a public key or a symmetric one, one whose `use` or `key_ops` is not
    /// signing, an `alg` that the key can not do. No error quotes anything of the text.
    pub fn from_jwk(json: &str) -> Result<Self, ConfigError> {
        let jwk = jwk::read(json)?;
        let mut key = Self::new(jwk.pair);
        key.kid = jwk.kid.map(Arc::from);
        match jwk.algorithm {
            Some(algorithm) => key.with_algorithm(algorithm),
            None => Ok(key),
        }
    }

    /// What [`from_der`](Self::from_der), [`from_jwk`](Self::from_jwk) or [`from_pem`](Self::from_pem) reads.
    pub(super) fn from_any(content: &[u8]) -> Result<Self, ConfigError> {
        match content.trim_ascii_start().first() {
            // Neither PEM nor JSON begins with this byte, which is a zero in text.
            Some(&der::SEQUENCE) => Self::from_der(content),
            Some(b'{') => match std::str::from_utf8(content) {
                Ok(json) => Self::from_jwk(json),
                Err(_) => Err(ConfigError::new(KEY, "is not UTF-8")),
            },
            _ => Self::from_pem(content),
        }
    }

    /// A new key for `ES256`, `ES384` or `EdDSA`.
    ///
    /// # Errors
    ///
    /// An algorithm that takes RSA keys, which can not be made here; a system without randomness.
    pub fn generate(algorithm: Algorithm) -> Result<Self, ConfigError> {
        let random = SystemRandom::new();
        let made = match algorithm {
            Algorithm::ES256 => {
                EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            }
            Algorithm::ES384 => {
                EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random)
            }
            Algorithm::EdDSA => Ed25519KeyPair::generate_pkcs8(&random),
            Algorithm::RS256 | Algorithm::PS256 => {
                return Err(ConfigError::new(KEY, "of RSA can not be generated, only read"));
            }
        };
        let made =
            made.map_err(|_| ConfigError::new(KEY, "needs randomness, and there is none"))?;
        Self::from_der(made)
    }

    /// Signs with `algorithm`: `PS256` in the place of `RS256`.
    ///
    /// # Errors
    ///
    /// An algorithm that is not for keys of this kind.
    pub fn with_algorithm(mut self, algorithm: Algorithm) -> Result<Self, ConfigError> {
        let is_for_it = match &*self.pair {
            Pair::P256(_) => algorithm == Algorithm::ES256,
            Pair::P384(_) => algorithm == Algorithm::ES384,
            Pair::Rsa(_) => matches!(algorithm, Algorithm::RS256 | Algorithm::PS256),
            Pair::Ed25519(_) => algorithm == Algorithm::EdDSA,
        };
        if !is_for_it {
            return Err(ConfigError::new(KEY, "is not of the kind that the algorithm needs"));
        }
        self.algorithm = algorithm;
        Ok(self)
    }

    /// The name under which the server knows the key (`kid`, RFC 7515 section 4.1.4), in the place
    /// of the JWK's own. An empty one is left out.
    #[must_use]
    pub fn with_kid(mut self, kid: impl AsRef<str>) -> Self {
        let kid = kid.as_ref();
        self.kid = (!kid.is_empty()).then(|| kid.into());
        self
    }

    /// The public part as a JWK: the members that a thumbprint is made of, in the order of RFC 7638
    /// section 3.3, and no others.
    pub fn public_jwk(&self) -> Value {
        self.pair.public_jwk()
    }

    /// The SHA-256 thumbprint of the public part (RFC 7638), in base64url.
    pub fn thumbprint(&self) -> String {
        encode(digest(&SHA256, self.public_jwk().to_string().as_bytes()))
    }

    fn new(pair: Pair) -> Self {
        let algorithm = match &pair {
            Pair::P256(_) => Algorithm::ES256,
            Pair::P384(_) => Algorithm::ES384,
            Pair::Rsa(_) => Algorithm::RS256,
            Pair::Ed25519(_) => Algorithm::EdDSA,
        };
        Self { algorithm, kid: None, pair: Arc::new(pair) }
    }

    pub(super) fn signature(&self, message: &[u8]) -> Result<Vec<u8>, ring::error::Unspecified> {
        let random = SystemRandom::new();
        match &*self.pair {
            Pair::P256(pair) | Pair::P384(pair) => {
                pair.sign(&random, message).map(|signature| signature.as_ref().to_vec())
            }
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let padding = match self.algorithm {
                    Algorithm::PS256 => &RSA_PSS_SHA256 as &dyn ring::signature::RsaEncoding,
                    _ => &RSA_PKCS1_SHA256,
                };
                pair.sign(padding, &random, message, &mut signature)?;
                Ok(signature)
            }
        }
    }
}

impl Pair {
    fn p256(private: &[u8], public: &[u8]) -> Result<Self, ConfigError> {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let random = SystemRandom::new();
        EcdsaKeyPair::from_private_key_and_public_key(algorithm, private, public, &random)
            .map(Self::P256)
            .map_err(rejected)
    }

    fn p384(private: &[u8], public: &[u8]) -> Result<Self, ConfigError> {
        let algorithm = &ECDSA_P384_SHA384_FIXED_SIGNING;
        let random = SystemRandom::new();
        EcdsaKeyPair::from_private_key_and_public_key(algorithm, private, public, &random)
            .map(Self::P384)
            .map_err(rejected)
    }

    fn rsa(pair: Result<RsaKeyPair, ring::error::KeyRejected>) -> Result<Self, ConfigError> {
        let pair = pair.map_err(rejected)?;
        // Not all that makes up the key has been compared yet. A signature does.
        let mut signature = Zeroizing::new(vec![0; pair.public().modulus_len()]);
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), b"", &mut signature)
            .map_err(|_| ConfigError::new(KEY, "has parts that do not belong together"))?;
        Ok(Self::Rsa(pair))
    }

    fn ed25519(
        pair: Result<Ed25519KeyPair, ring::error::KeyRejected>,
    ) -> Result<Self, ConfigError> {
        pair.map(Self::Ed25519).map_err(rejected)
    }

    fn public(&self) -> &[u8] {
        match self {
            Self::P256(pair) | Self::P384(pair) => pair.public_key().as_ref(),
            Self::Rsa(pair) => pair.public_key().as_ref(),
            Self::Ed25519(pair) => pair.public_key().as_ref(),
        }
    }
}

/// In words for those who have to do with keys now and then.
fn rejected(error: ring::error::KeyRejected) -> ConfigError {
    ConfigError::new(
        KEY,
        match error.to_string().as_str() {
            "TooSmall" => "of RSA has less than 2048 bits",
            "TooLarge" => "of RSA has more than 4096 bits",
            "PrivateModulusLenNotMultipleOf512Bits" => "of RSA has an odd number of bits",
            "InconsistentComponents" => "has parts that do not belong together",
            "VersionNotSupported" => "is of a version that is not supported",
            _ => "is damaged, or of a kind that is not supported",
        },
    )
}

impl Signer for SigningKey {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    fn identity(&self) -> Vec<u8> {
        self.pair.public().to_vec()
    }

    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, BoxError> {
        self.signature(message).map_err(|_| "the key could not sign".into())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}
