//! A service that calls two others on behalf of its own callers (token exchange, RFC 8693): one HTTP client with one
//! layer, and a token for each caller and each of the two APIs.

mod service;
mod steps;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use crate::support::report;

#[tokio::main]
async fn main() -> ExitCode {
    report::conclude(steps::run().await)
}
