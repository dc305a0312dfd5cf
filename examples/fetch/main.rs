//! A client for trying a real token endpoint and a real API by hand; `--help` says how.

mod client;
mod count;
mod failure;
mod options;
mod run;
mod tally;

use std::io::{self, Write};
use std::process::ExitCode;

use tower::BoxError;

use crate::count::Count;
use crate::options::{Command, Options};
use crate::tally::Tally;

const BAD_ARGUMENTS: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    match options::parse(lexopt::Parser::from_env()) {
        Ok(Command::Help) => written(io::stdout(), options::help().as_bytes()),
        Ok(Command::Fetch(options)) => match fetch(&options).await {
            Ok(code) => code,
            Err(error) => {
                say(&format!("error: {}", failure::flat(&*error)));
                ExitCode::FAILURE
            }
        },
        Err(mistake) => {
            say(&format!("fetch: {mistake} (see --help)"));
            ExitCode::from(BAD_ARGUMENTS)
        }
    }
}

async fn fetch(options: &Options) -> Result<ExitCode, BoxError> {
    let token_requests = Count::default();
    let client = client::client(options, &token_requests)?;
    let tally = run::run(client, &options.request, &options.load).await;
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
