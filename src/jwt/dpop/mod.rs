//! Binds access tokens to a key: each request carries a proof of its possession (DPoP, RFC 9449).

mod key;
mod nonces;
mod proof;

pub use self::key::DpopKey;
