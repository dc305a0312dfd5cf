//! Sends requests to your token endpoint and your API. `--help` lists the options.

mod bounded;
mod chunks;
mod client;
mod explain;
mod failure;
mod options;
mod printable;
mod run;
mod secrets;
mod store;
mod tally;
mod token_requests;
mod wire;
mod wording;

use std::future::{self, Future};
use std::io::{self, Write};
use std::process::ExitCode;

use http_body_util::Full;
use tokio::runtime::Runtime;
use tower::BoxError;

use crate::chunks::Chunks;
use crate::explain::Transcript;
use crate::failure::Describer;
use crate::options::{Command, Options, Payload, TokenOptions};
use crate::run::Plan;
use crate::tally::Tally;
use crate::token_requests::TokenRequests;

const BAD_ARGUMENTS: u8 = 2;

fn main() -> ExitCode {
    let token_requests = TokenRequests::default();
    let result = match options::parse(lexopt::Parser::from_env()) {
        Ok(Command::Help) => return write(io::stdout(), options::help().as_bytes()),
        Ok(Command::Fetch(options)) => run_to_end(fetch(&options, &token_requests)),
        Ok(Command::Explain(options)) => run_to_end(explain(&options, &token_requests)),
        Err(mistake) => {
            say(&format!("fetch: {mistake} (see --help)"));
            return ExitCode::from(BAD_ARGUMENTS);
        }
    };
    result.unwrap_or_else(|error| {
        let describer = Describer::new(token_requests.secrets().clone());
        say(&format!("error: {}", describer.error(&*error)));
        ExitCode::FAILURE
    })
}

fn run_to_end(
    command: impl Future<Output = Result<ExitCode, BoxError>>,
) -> Result<ExitCode, BoxError> {
    let runtime = Runtime::new()?;
    let code = runtime.block_on(command);
    // A thread may still read stdin after the response has arrived.
    runtime.shutdown_background();
    code
}

async fn fetch(options: &Options, token_requests: &TokenRequests) -> Result<ExitCode, BoxError> {
    let Options { request, load, .. } = options;
    let describer = Describer::new(token_requests.secrets().clone());
    let plan = Plan { template: request, load, describer };
    let tally = match &options.payload {
        Payload::Whole(bytes) => {
            let client = client::client(options, token_requests).await?;
            plan.run(client, || future::ready(Ok(Full::new(bytes.clone())))).await
        }
        Payload::Chunks { source, replay_limit } => {
            let client = client::streaming(options, *replay_limit, token_requests).await?;
            plan.run(client, || Chunks::open(source.clone())).await
        }
    };
    Ok(report(&tally, token_requests))
}

async fn explain(
    options: &TokenOptions,
    token_requests: &TokenRequests,
) -> Result<ExitCode, BoxError> {
    let transcript = Transcript::new(token_requests.secrets().clone());
    let result = client::explain(options, transcript.clone(), token_requests).await;
    // The token request is of interest above all if it failed.
    let out = write(io::stdout(), transcript.text().as_bytes());
    result.map(|()| out)
}

fn report(tally: &Tally, token_requests: &TokenRequests) -> ExitCode {
    let out = write(io::stdout(), tally.last_body());
    for line in tally.error_lines() {
        say(&format!("error: {line}"));
    }
    say(&tally.summary(token_requests.count()));
    if tally.has_errors() { ExitCode::FAILURE } else { out }
}

fn write(mut out: impl Write, bytes: &[u8]) -> ExitCode {
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: stdout: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints a line on stderr. An error is ignored, because there is no place to report it.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
