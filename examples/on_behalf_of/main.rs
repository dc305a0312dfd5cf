//! Calls two APIs on behalf of a service's callers (token exchange, RFC 8693). The service has one
//! HTTP client with one layer, and a token for each caller and API.

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
