//! Shares tokens between processes through Redis.
//!
//! `shared_tokens` starts a `redis-server`, which has to be installed. `shared_tokens redis://...`
//! uses a server that is already running.

mod server;
mod steps;
#[path = "../support/mod.rs"]
mod support;
mod worker;

use std::error::Error;
use std::process::ExitCode;

use self::support::report;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => report::conclude(steps::run(None).await),
        ["worker", redis, prefix, token_endpoint, api] => {
            match worker::run(redis, prefix, token_endpoint, api).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&*error, 1),
            }
        }
        [url] if redis::Client::open(url).is_ok() => report::conclude(steps::run(Some(url)).await),
        _ => {
            let usage = "usage: shared_tokens [redis://HOST:PORT]";
            fail(&*Box::<dyn Error>::from(usage), 2)
        }
    }
}

fn fail(error: &dyn Error, code: u8) -> ExitCode {
    eprintln!("shared_tokens: {error}");
    code.into()
}
