//! Stores on real servers, which each test starts for itself, and on real time.
//!
//! A store has a file here, or a folder, in which it goes through `conformance::check`; `support` starts its server.
#![allow(unreachable_pub, missing_docs)]

mod conformance;
mod custom;
#[cfg(feature = "encryption")]
mod encrypted;
#[cfg(feature = "redis")]
mod faults;
#[cfg(all(feature = "memcached", unix))]
mod memcached;
mod memory;
#[cfg(feature = "redis")]
mod processes;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
mod support;
