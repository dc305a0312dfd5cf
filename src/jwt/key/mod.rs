//! Reads private keys, and signs with them.

mod curve;
mod der;
mod jwk;
mod pem;

use std::fmt;
use std::sync::Arc;

use crate::crypto::digest::{SHA256, digest};
use crate::crypto::ecdsa_key_pair;
use crate::crypto::error::{KeyRejected, Unspecified};
use crate::crypto::rand::SystemRandom;
use crate::crypto::signature::{
    EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use serde_json::Value;
use tower::BoxError;
use zeroize::Zeroizing;

use self::curve::Curve;
use super::der::SEQUENCE;
use super::{Algorithm, Signer, encode};
use crate::error::ConfigError;
use crate::secret::Identity;

const KEY: &str = "signing key";

const BROKEN: ConfigError = ConfigError::new(KEY, "is damaged, or in an unsupported format");

/// Returns the error of a key that cannot be used.
fn invalid<T>(reason: &'static str) -> Result<T, ConfigError> {
    Err(ConfigError::new(KEY, reason))
}

/// Signs JWTs with a private key in memory.
///
/// The key is an EC key (P-256, P-384), an RSA key (2048 to 4096 bits) or an Ed25519 key. With the
/// feature `aws-lc-rs`, it may also be an EC key on P-521.
///
/// A clone is cheap. `Debug` shows the algorithm and the `kid`. Copies that this crate makes while
/// it reads a key are wiped from memory. The key itself is kept by the cryptography
/// backend, which may not wipe it.
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

/// A key pair that has been checked.
enum Pair {
    Ec(Curve, EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// Reads the private key in a PEM text (RFC 7468).
    ///
    /// The label of the key is `PRIVATE KEY` (PKCS#8), `RSA PRIVATE KEY` (PKCS#1) or `EC PRIVATE
    /// KEY` (SEC 1). Certificates in the text are ignored. Line breaks may be missing, or be spaces
    /// or `\n`, as in environment variables.
    ///
    /// An RSA key signs with `RS256` unless [`with_algorithm`](Self::with_algorithm) is called.
    ///
    /// # Errors
    ///
    /// Returns an error if the text has no private key or several of them, or if the key is
    /// encrypted, is truncated, has an unsupported type or size, or is an EC key without its public
    /// part. No error quotes the text.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        pem::read(pem.as_ref()).map(Self::new)
    }

    /// Reads a private key in DER: PKCS#8 (RFC 5958), PKCS#1 or SEC 1.
    ///
    /// # Errors
    ///
    /// Returns an error if the key is encrypted or truncated, has an unsupported type or size, or
    /// is an EC key without its public part.
    pub fn from_der(der: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        der::read(der.as_ref()).map(Self::new)
    }

    /// Reads a private key from a JSON Web Key (RFC 7517).
    ///
    /// The key is `EC` with `P-256`, `P-384` or `P-521` (feature `aws-lc-rs`), `RSA` with all of
    /// its parameters (RFC 7518 section 6.3.2), or `OKP` with `Ed25519` (RFC 8037). Its `kid` and
    /// `alg` are used.
    ///
    /// # Errors
    ///
    /// Returns an error if the text is not such a JWK, if the key is public or symmetric, if its
    /// `use` or `key_ops` is not signing, or if its `alg` does not match the key. Errors quote
    /// `kty`, `crv` and `alg`, and no other member.
    pub fn from_jwk(json: &str) -> Result<Self, ConfigError> {
        let jwk = jwk::read(json)?;
        let mut key = Self::new(jwk.pair);
        key.kid = jwk.kid.map(Arc::from);
        match jwk.algorithm {
            Some(algorithm) => key.with_algorithm(algorithm),
            None => Ok(key),
        }
    }

    /// Reads a key in the format that the content has: DER, JWK or PEM.
    pub(crate) fn from_any(content: &[u8]) -> Result<Self, ConfigError> {
        match content.trim_ascii_start().first() {
            // Neither PEM nor JSON begins with this byte, which is a zero in text.
            Some(&SEQUENCE) => Self::from_der(content),
            Some(b'{') => match std::str::from_utf8(content) {
                Ok(json) => Self::from_jwk(json),
                Err(_) => invalid("is not UTF-8"),
            },
            _ => Self::from_pem(content),
        }
    }

    /// Generates a new key for `ES256`, `ES384`, `ES512` (feature `aws-lc-rs`) or `EdDSA`.
    ///
    /// # Errors
    ///
    /// Returns an error for an algorithm with RSA keys, which this crate does not generate, and if
    /// the system has no source of randomness.
    pub fn generate(algorithm: Algorithm) -> Result<Self, ConfigError> {
        let random = SystemRandom::new();
        let ec = |curve: Curve| Ok(EcdsaKeyPair::generate_pkcs8(curve.signing()?, &random));
        let pkcs8 = match algorithm {
            Algorithm::ES256 => ec(Curve::P256)?,
            Algorithm::ES384 => ec(Curve::P384)?,
            Algorithm::ES512 => ec(Curve::P521)?,
            Algorithm::EdDSA => Ed25519KeyPair::generate_pkcs8(&random),
            rsa => {
                let problem = "can be generated for ES256, ES384, ES512 and EdDSA only";
                return Err(ConfigError::new(KEY, problem).with_value(rsa));
            }
        };
        let no_randomness = "needs a source of randomness, and the system has none";
        Self::from_der(pkcs8.map_err(|_| ConfigError::new(KEY, no_randomness))?)
    }

    /// Sets the algorithm of an RSA key: `RS256`, `RS384`, `RS512`, `PS256`, `PS384` or `PS512`.
    ///
    /// The curve of any other key decides its algorithm.
    ///
    /// # Errors
    ///
    /// Returns an error if the algorithm is not for keys of this type. The error names the
    /// algorithms that are.
    pub fn with_algorithm(mut self, algorithm: Algorithm) -> Result<Self, ConfigError> {
        let (is_supported, problem) = match &*self.pair {
            Pair::Ec(Curve::P256, _) => {
                (algorithm == Algorithm::ES256, "supports ES256, and not the algorithm")
            }
            Pair::Ec(Curve::P384, _) => {
                (algorithm == Algorithm::ES384, "supports ES384, and not the algorithm")
            }
            Pair::Ec(Curve::P521, _) => {
                (algorithm == Algorithm::ES512, "supports ES512, and not the algorithm")
            }
            Pair::Rsa(_) => (
                rsa_encoding(algorithm).is_some(),
                "supports RS256, RS384, RS512, PS256, PS384 or PS512, and not the algorithm",
            ),
            Pair::Ed25519(_) => {
                (algorithm == Algorithm::EdDSA, "supports EdDSA, and not the algorithm")
            }
        };
        if !is_supported {
            return Err(ConfigError::new(KEY, problem).with_value(algorithm));
        }
        self.algorithm = algorithm;
        Ok(self)
    }

    /// Sets the name under which the server knows the key (`kid`).
    ///
    /// RFC 7515 section 4.1.4 defines it. It replaces the `kid` of a JWK. An empty name is left
    /// out.
    #[must_use]
    pub fn with_kid(mut self, kid: impl AsRef<str>) -> Self {
        let kid = kid.as_ref();
        self.kid = (!kid.is_empty()).then(|| kid.into());
        self
    }

    /// Returns the public part as a JWK.
    ///
    /// It has the members that a thumbprint is computed from, in the order of RFC 7638 section 3.3,
    /// and no `kid`.
    pub fn public_jwk(&self) -> Value {
        self.pair.public_jwk()
    }

    /// Returns the SHA-256 thumbprint of the public part in base64url (RFC 7638).
    #[doc(alias("jkt", "RFC 7638"))]
    pub fn thumbprint(&self) -> String {
        encode(digest(&SHA256, self.public_jwk().to_string().as_bytes()))
    }

    fn new(pair: Pair) -> Self {
        let algorithm = match &pair {
            Pair::Ec(curve, _) => curve.algorithm(),
            Pair::Rsa(_) => Algorithm::RS256,
            Pair::Ed25519(_) => Algorithm::EdDSA,
        };
        Self { algorithm, kid: None, pair: Arc::new(pair) }
    }

    pub(super) fn signature(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let random = SystemRandom::new();
        match &*self.pair {
            Pair::Ec(_, pair) => {
                pair.sign(&random, message).map(|signature| signature.as_ref().to_vec())
            }
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_key().modulus_len()];
                let encoding = rsa_encoding(self.algorithm).ok_or(Unspecified)?;
                pair.sign(encoding, &random, message, &mut signature)?;
                Ok(signature)
            }
        }
    }
}

/// Returns how an RSA key signs, or `None` if the algorithm is for other keys.
fn rsa_encoding(algorithm: Algorithm) -> Option<&'static dyn RsaEncoding> {
    match algorithm {
        Algorithm::RS256 => Some(&RSA_PKCS1_SHA256),
        Algorithm::RS384 => Some(&RSA_PKCS1_SHA384),
        Algorithm::RS512 => Some(&RSA_PKCS1_SHA512),
        Algorithm::PS256 => Some(&RSA_PSS_SHA256),
        Algorithm::PS384 => Some(&RSA_PSS_SHA384),
        Algorithm::PS512 => Some(&RSA_PSS_SHA512),
        Algorithm::ES256 | Algorithm::ES384 | Algorithm::ES512 | Algorithm::EdDSA => None,
    }
}

impl Pair {
    fn ec(curve: Curve, private: &[u8], public: &[u8]) -> Result<Self, ConfigError> {
        ecdsa_key_pair(curve.signing()?, private, public)
            .map(|pair| Self::Ec(curve, pair))
            .map_err(rejected)
    }

    fn rsa(pair: Result<RsaKeyPair, KeyRejected>) -> Result<Self, ConfigError> {
        let pair = pair.map_err(rejected)?;
        // `ring` compares all parts of the key when it signs.
        let mut signature = Zeroizing::new(vec![0; pair.public_key().modulus_len()]);
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), b"", &mut signature)
            .map_err(|_| ConfigError::new(KEY, "has parts that do not match"))?;
        Ok(Self::Rsa(pair))
    }

    /// Returns an error for a modulus whose size a backend does not support.
    fn check_modulus(modulus: &[u8]) -> Result<(), ConfigError> {
        let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
        match modulus[zeros..] {
            [] => Err(BROKEN),
            [first, ref rest @ ..] => match 8 * rest.len() + 8 - first.leading_zeros() as usize {
                ..2048 => invalid("is an RSA key of less than 2048 bits"),
                2048..=4096 => Ok(()),
                _ => invalid("is an RSA key of more than 4096 bits"),
            },
        }
    }

    fn ed25519(pair: Result<Ed25519KeyPair, KeyRejected>) -> Result<Self, ConfigError> {
        pair.map(Self::Ed25519).map_err(rejected)
    }

    fn public(&self) -> &[u8] {
        match self {
            Self::Ec(_, pair) => pair.public_key().as_ref(),
            Self::Rsa(pair) => pair.public_key().as_ref(),
            Self::Ed25519(pair) => pair.public_key().as_ref(),
        }
    }
}

/// Explains why the backend rejects a key.
fn rejected(error: KeyRejected) -> ConfigError {
    ConfigError::new(
        KEY,
        match error.to_string().as_str() {
            "PrivateModulusLenNotMultipleOf512Bits" => {
                "is an RSA key of an unsupported size: use 2048, 3072 or 4096 bits"
            }
            "InconsistentComponents" => "has parts that do not match",
            "VersionNotSupported" => "has a version that is not supported",
            _ => "is damaged, or of an unsupported type",
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

    fn identify(&self, identity: &mut Identity) {
        identity.part(self.pair.public());
    }

    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, BoxError> {
        self.signature(message).map_err(|_| "the key cannot sign".into())
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
