//! Signs JWTs (RFC 7519, RFC 7515) with keys in memory, files or a KMS.
//!
//! - [`SignedJwt`] has the settings of a JWT, and [`Audience`] and [`Algorithm`] are two of them.
//! - [`SigningKey`] is a key in memory, [`KeyFile`] a key in a file, and [`Signer`] the trait of
//!   other keys.
//! - [`DpopKey`] binds access tokens to a key.
//!
//! The [guide](crate::guide::keys) describes where keys come from and how to rotate them.

mod algorithm;
mod assertion_claims;
mod audience;
mod certificate;
mod der;
mod dpop;
mod jws;
mod key;
mod key_file;
mod signed_jwt;
mod signer;

pub use self::algorithm::Algorithm;
pub(crate) use self::assertion_claims::{AssertionClaims, DefaultAudience, JwtContext};
pub use self::audience::Audience;
pub(crate) use self::jws::{encode, random_id, sign, sign_at_once, sign_with_secret};
pub(crate) use self::signer::DynSigner;

// Rustdoc's search finds an alias at a `pub use`, and not at a definition in a private module.
#[doc(alias("DPoP", "proof of possession", "sender-constrained"))]
#[doc(alias("dpop_jkt", "use_dpop_nonce", "RFC 9449"))]
pub use self::dpop::DpopKey;
#[doc(alias("private key", "PEM", "PKCS8", "JWK", "RSA", "ECDSA"))]
pub use self::key::SigningKey;
#[doc(alias("key rotation", "PEM", "private key"))]
pub use self::key_file::KeyFile;
#[doc(alias("client assertion", "private_key_jwt", "RFC 7519", "RFC 7523"))]
pub use self::signed_jwt::SignedJwt;
#[doc(alias("KMS", "HSM", "PKCS11", "remote signing"))]
pub use self::signer::Signer;
