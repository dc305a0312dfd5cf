//! Provides general tools that know nothing about OAuth.
//!
//! Every other module may use them.

pub(crate) mod backoff;
pub(crate) mod bounded_map;
pub(crate) mod byte_order_mark;
pub(crate) mod clock;
pub(crate) mod invisible;
pub(crate) mod jitter;
pub(crate) mod limits;
pub(crate) mod liveness;
pub(crate) mod one_or_many;
#[cfg(any(feature = "jwt", feature = "serde"))]
pub(crate) mod pem;
pub(crate) mod printable;
pub(crate) mod race;
pub(crate) mod runtime;
pub(crate) mod sync;
pub(crate) mod takeover_lock;
