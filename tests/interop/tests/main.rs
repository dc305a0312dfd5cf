//! Tests against widely used authorization servers. The tests start each server on loopback;
//! `tests/interop/README.md` lists them and the tested features.

mod assertions;
mod client;
mod clocks;
mod discovery;
mod django_oauth_toolkit;
mod dpop;
mod dpop_nonces;
mod expiry;
mod mutual_tls;
mod oidc_provider;
mod refresh_tokens;
mod revocation;
mod server;
mod tls;
