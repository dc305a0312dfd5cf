//! Stores without a server, in real time, and a memcached server that breaks its protocol.
//!
//! Each store runs `conformance::check` of the testkit. `tests/servers` runs it on real servers.
#![allow(unreachable_pub, missing_docs)]

mod custom;
#[cfg(feature = "encryption")]
mod encrypted;
#[cfg(all(feature = "memcached", unix))]
mod memcached;
mod memory;
