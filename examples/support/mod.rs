//! What the examples have in common: a token endpoint and servers on loopback, and a report of what
//! happened next to what is promised.
//!
//! Each example uses all that is in here. What only some need stands beside it, `api.rs` and
//! `tls.rs`, and is theirs to include.

pub(crate) mod issuer;
pub(crate) mod report;
pub(crate) mod server;
