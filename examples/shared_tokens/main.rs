//! Processes that share their tokens through Redis: what happens on the wire, next to what the rules promise.
//!
//! `shared_tokens` starts a `redis-server` of its own; `shared_tokens redis://...` takes one that is there.

mod member;
mod server;
mod steps;
#[path = "../support/mod.rs"]
mod support;

use std::error::Error;
use std::process::ExitCode;

use self::support::report;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => report::conclude(steps::run(None).await),
        ["member", redis, prefix, token_endpoint, api] => {
            match member::run(redis, prefix, token_endpoint, api).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => complain(&*error, 1),
            }
        }
        [url] if redis::Client::open(url).is_ok() => report::conclude(steps::run(Some(url)).await),
        _ => {
            let usage = "usage: shared_tokens [redis://HOST:PORT]";
            complain(&*Box::<dyn Error>::from(usage), 2)
        }
    }
}

fn complain(error: &dyn Error, code: u8) -> ExitCode {
    eprintln!("shared_tokens: {error}");
    code.into()
}
