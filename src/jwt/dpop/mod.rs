//! Binds access tokens to a key (DPoP, RFC 9449).
//!
//! Each request carries a proof of possession of the key.

mod key;
mod nonces;
mod proof;

pub use self::key::DpopKey;
