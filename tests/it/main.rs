//! Tests of the public API, rule by rule.
#![allow(unreachable_pub, missing_docs)]

mod support;

mod alf;
#[cfg(feature = "jwt")]
mod assertion;
mod breaker;
mod cache;
mod changing_secrets;
mod composition;
mod construction;
mod credentials;
mod discovery;
mod edges;
mod error_messages;
mod grants;
mod hostile;
mod labels;
mod many_callers;
mod mtls;
mod oauth2;
mod observing;
#[cfg(feature = "jwt")]
mod possession;
mod replay;
mod rule_names;
mod security;
mod single_flight;
mod store;
mod wire;
