//! JSON Web Signatures (RFC 7515), as far as a client needs them: keys, and what signs with them.

mod algorithm;
mod dpop;
mod jws;
mod key;
mod key_file;
mod signer;

pub use self::algorithm::Algorithm;
pub use self::dpop::DpopKey;
pub(crate) use self::jws::{encode, random_id, sign, sign_at_once, sign_with_secret};
pub use self::key::SigningKey;
pub use self::key_file::KeyFile;
pub(crate) use self::signer::Erased;
pub use self::signer::Signer;
