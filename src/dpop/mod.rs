//! Tokens that are of use only to whoever has a key (DPoP, RFC 9449).

#[cfg(not(feature = "jwt"))]
mod absent;
#[cfg(feature = "jwt")]
mod key;
#[cfg(feature = "jwt")]
mod nonces;
#[cfg(feature = "jwt")]
mod proof;

use http::HeaderName;

#[cfg(not(feature = "jwt"))]
pub(crate) use self::absent::{DpopKey, Prover, Sent};
#[cfg(feature = "jwt")]
pub use self::key::DpopKey;
#[cfg(feature = "jwt")]
pub(crate) use self::key::{Prover, Sent};

/// The header field of a proof (RFC 9449 section 4.1).
pub(crate) const DPOP: HeaderName = HeaderName::from_static("dpop");

/// What a server thinks of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "jwt"), allow(dead_code, reason = "there is nothing to have one of"))]
pub(crate) enum Opinion {
    /// It says nothing of it.
    Fine,
    /// It wants another one, and there is something to make a better one of: a nonce that is new, a clock that is
    /// known to be off.
    Another,
    /// It wants another one, which would be no better.
    Hopeless,
}
