//! Stores on real servers, which each test starts, and in real time.
//!
//! Each store has a folder, which runs `conformance::check` of the testkit. `examples` and `fetch`
//! run examples of tower-oauth2 that share tokens.

mod encrypted;
mod examples;
mod faults;
mod fetch;
mod memcached;
mod processes;
mod redis;
