//! A reverse proxy that streams uploads and adds the service's own token: `proxy.rs` is all of it.
//!
//! It runs in a process of its own, so that its memory is its own: `--uploads 100 --mib 1024` sends a
//! hundred uploads of 1 GiB through it at once, and as many through one without the layer.

mod options;
mod process;
mod proxy;
mod steps;
#[path = "../support/mod.rs"]
mod support;
mod upload;
mod upstream;

use std::error::Error;
use std::process::ExitCode;

use self::options::Options;
use self::support::report;

#[tokio::main]
async fn main() -> ExitCode {
    match Options::parse() {
        Ok(Options::Demo(size)) => report::conclude(steps::run(size).await),
        Ok(Options::Serve(role)) => match process::serve(role).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&*error, 1),
        },
        Err(error) => complain(&error, 2),
    }
}

fn complain(error: &dyn Error, code: u8) -> ExitCode {
    eprintln!("proxy: {error}");
    code.into()
}
