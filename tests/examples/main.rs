//! The examples, run as processes.
#![allow(unreachable_pub, missing_docs)]

mod demonstrations;
mod fetch;
mod fleet;
mod process;
mod server;

#[cfg(feature = "redis")]
#[allow(dead_code, unused_imports, reason = "shared with the tests of stores")]
#[path = "../stores/support/mod.rs"]
mod support;

#[cfg(all(feature = "memcached", unix))]
#[allow(dead_code, reason = "shared with the tests of stores")]
#[path = "../stores/memcached/support.rs"]
mod memcached;
