//! What is counted and measured: bounded labels, and nothing of it on a hit.
//!
//! Whoever listens may come back for a token: nothing here is called under a lock.

#[cfg(not(feature = "metrics"))]
mod absent;
#[cfg(feature = "metrics")]
mod present;

#[cfg(not(feature = "metrics"))]
use self::absent as which;
#[cfg(feature = "metrics")]
use self::present as which;
pub(crate) use self::which::{
    Asked, Replaying, Timer, backoff, broken_apis, describe, failing_credentials, not_replayed,
};

/// Whom a token is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "metrics"), allow(dead_code, reason = "nobody asks"))]
pub(crate) enum Whom {
    /// The source of a cache, with its stores and retries.
    Source,
    TokenEndpoint,
}
