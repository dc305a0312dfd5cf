//! Tests against widely used authorization servers. The tests start each server on loopback;
//! `tests/interop/README.md` lists them and the tested features.
#![allow(unreachable_pub, missing_docs)]

#[cfg(feature = "jwt")]
#[path = "interop/assertions.rs"]
mod assertions;
#[path = "interop/client.rs"]
mod client;
#[cfg(feature = "jwt")]
#[path = "interop/clocks.rs"]
mod clocks;
#[path = "interop/discovery.rs"]
mod discovery;
#[path = "interop/django_oauth_toolkit.rs"]
mod django_oauth_toolkit;
#[cfg(feature = "jwt")]
#[path = "interop/dpop.rs"]
mod dpop;
#[cfg(feature = "jwt")]
#[path = "interop/dpop_nonces.rs"]
mod dpop_nonces;
#[path = "interop/expiry.rs"]
mod expiry;
#[path = "interop/mutual_tls.rs"]
mod mutual_tls;
#[path = "interop/oidc_provider.rs"]
mod oidc_provider;
#[path = "interop/refresh_tokens.rs"]
mod refresh_tokens;
#[path = "interop/revocation.rs"]
mod revocation;
#[path = "interop/server.rs"]
mod server;
#[path = "interop/tls.rs"]
mod tls;
