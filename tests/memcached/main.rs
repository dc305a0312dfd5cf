//! Tokens shared through memcached: a real server (`memcached` must be installed), and servers that are none.
#![cfg(all(feature = "memcached", unix))]
#![allow(unreachable_pub, missing_docs)]

mod configuring;
mod hostile;
mod leases;
mod shared;
mod support;
mod values;
