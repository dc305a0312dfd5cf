//! Stores on real servers, which each test starts, and in real time.
//!
//! Each store has a file or a folder, which runs `conformance::check`. `support` starts its server.
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
