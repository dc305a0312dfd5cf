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
pub use self::dpop::DpopKey;
pub(crate) use self::jws::{encode, random_id, sign, sign_at_once, sign_with_secret};
pub use self::key::SigningKey;
pub use self::key_file::KeyFile;
pub use self::signed_jwt::SignedJwt;
pub(crate) use self::signer::DynSigner;
pub use self::signer::Signer;
