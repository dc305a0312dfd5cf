//! Calls two APIs with the clients of a configuration file. The service reads the file again
//! whenever it changes: a changed client table takes effect, an unchanged one keeps its token, and
//! a broken file is reported while the old configuration stays in use.

mod service;
mod steps;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    support::report::conclude(steps::run().await)
}
