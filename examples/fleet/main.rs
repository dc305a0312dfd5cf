//! Simulates a fleet: 10,000 processes call an API for a day. The example prints the
//! load on the token endpoint as Markdown tables, for this crate and for two common hand-written
//! clients.
//!
//! The network, the API, the token endpoint and the store's latency are simulated. `OAuth2Layer`,
//! `TokenCache`, `TokenStoreLayer`, `MemoryStore` and `TokenEndpoint` are real. Time is tokio's
//! paused time, and a seed makes a run reproducible.

mod clients;
mod day;
mod figures;
mod options;
mod picture;
mod scenario;
mod simulation;
mod store;
mod tally;

use std::error::Error;
use std::process::ExitCode;
use std::{fs, io};

use self::options::{Command, Options};

fn main() -> ExitCode {
    match Options::parse() {
        Ok(Command::Help) => {
            print!("{}", options::HELP);
            ExitCode::SUCCESS
        }
        Ok(Command::Run(options)) => match run(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, 1),
        },
        Err(error) => fail(&error, 2),
    }
}

fn run(options: &Options) -> io::Result<()> {
    let all = scenario::run(&options.scenarios, &options.plan);
    print!("{}", figures::tables(&options.plan, &all));
    match &options.svg {
        Some(file) => fs::write(file, picture::draw(&options.plan, &all)),
        None => Ok(()),
    }
}

fn fail(error: &dyn Error, code: u8) -> ExitCode {
    eprintln!("fleet: {error}");
    code.into()
}
