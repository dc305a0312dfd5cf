//! Streams uploads through a reverse proxy that adds its own token. The proxy is in `proxy.rs`.
//!
//! The proxy runs in a separate process, so that its memory can be measured. The options
//! `--uploads 100 --mib 1024` send 100 uploads of 1 GiB through it at once, and then through a
//! proxy without the layers.

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
            Err(error) => fail(&*error, 1),
        },
        Err(error) => fail(&error, 2),
    }
}

fn fail(error: &dyn Error, code: u8) -> ExitCode {
    eprintln!("proxy: {error}");
    code.into()
}
