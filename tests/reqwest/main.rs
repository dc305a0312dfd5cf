//! Tests of reqwest and reqwest-middleware, over real connections on loopback.
//!
//! Each promise is tested with an `AuthorizedClient` and with an `OAuth2Middleware`.
#![allow(unreachable_pub, missing_docs)]

mod support;

mod bodies;
mod clients;
mod dpop;
mod errors;
mod redirects;
mod replay;
mod responses;
mod timeouts;
mod token_endpoint;
