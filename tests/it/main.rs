//! What can be seen from outside, rule by rule.
#![allow(unreachable_pub, missing_docs)]

mod support;

mod alf;
#[cfg(feature = "jwt")]
mod assertion;
mod breaker;
mod cache;
mod changing;
mod composition;
mod discovery;
mod edges;
mod flights;
mod grants;
mod hostile;
mod mtls;
mod named;
mod observing;
#[cfg(feature = "jwt")]
mod possession;
mod replay;
mod security;
mod store;
mod storms;
mod texts;
mod wire;
