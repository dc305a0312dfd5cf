//! Tests of the public API, rule by rule.
#![allow(unreachable_pub, missing_docs)]

mod alf;
mod breaker;
mod cache;
mod changing_secrets;
mod composition;
mod construction;
mod credentials;
mod default_settings;
#[cfg(feature = "jwt")]
mod dpop;
mod edges;
mod endpoint;
mod error_messages;
mod grants;
mod hostile;
#[cfg(feature = "jwt")]
mod identity;
#[cfg(feature = "jwt")]
mod jwt;
mod labels;
mod many_callers;
mod metadata;
mod mtls;
mod oauth2;
mod observing;
mod readme;
mod replay;
mod rule_names;
mod security;
mod single_flight;
mod sources;
mod store;
#[cfg(feature = "testing")]
mod testing;

use tower_oauth2_testkit as support;
