//! A client for trying a real token endpoint and a real API by hand; `--help` says how.

mod bounded;
mod chunks;
mod client;
mod count;
mod failure;
mod options;
mod run;
mod store;
mod tally;

use std::future;
use std::io::{self, Write};
use std::process::ExitCode;

use http_body_util::Full;
use tokio::runtime::Runtime;
use tower::BoxError;

use crate::chunks::Chunks;
use crate::count::Count;
use crate::options::{Command, Options, Payload};
use crate::tally::Tally;

const BAD_ARGUMENTS: u8 = 2;

fn main() -> ExitCode {
    match options::parse(lexopt::Parser::from_env()) {
        Ok(Command::Help) => written(io::stdout(), options::help().as_bytes()),
        Ok(Command::Fetch(options)) => run_to_end(&options).unwrap_or_else(|error| {
            say(&format!("error: {}", failure::flat(&*error)));
            ExitCode::FAILURE
        }),
        Err(mistake) => {
            say(&format!("fetch: {mistake} (see --help)"));
            ExitCode::from(BAD_ARGUMENTS)
        }
    }
}

fn run_to_end(options: &Options) -> Result<ExitCode, BoxError> {
    let runtime = Runtime::new()?;
    let code = runtime.block_on(fetch(options));
    // Somebody may still be waiting for stdin, though the response is there.
    runtime.shutdown_background();
    code
}

async fn fetch(options: &Options) -> Result<ExitCode, BoxError> {
    let token_requests = Count::default();
    let Options { request, load, .. } = options;
    let tally = match &options.payload {
        Payload::Whole(bytes) => {
            let client = client::client(options, &token_requests).await?;
            let body = || future::ready(Ok(Full::new(bytes.clone())));
            run::run(client, request, body, load).await
        }
        Payload::Chunks { source, replay_limit } => {
            let client = client::streaming(options, *replay_limit, &token_requests).await?;
            let body = || Chunks::open(source.clone());
            run::run(client, request, body, load).await
        }
    };
    Ok(report(&tally, &token_requests))
}

fn report(tally: &Tally, token_requests: &Count) -> ExitCode {
    let out = written(io::stdout(), tally.last_body());
    for line in tally.error_lines() {
        say(&format!("error: {line}"));
    }
    say(&tally.summary(token_requests.get()));
    if tally.has_errors() { ExitCode::FAILURE } else { out }
}

fn written(mut out: impl Write, bytes: &[u8]) -> ExitCode {
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: stdout: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// One line on stderr. Nobody can be told when that is closed.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
