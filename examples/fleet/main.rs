//! A fleet on paper: ten thousand instances of a service, a day of calls to an API, and what reaches the
//! token endpoint, for this crate and for two clients as they are often written by hand.
//!
//! Time is paused tokio time, and a seed makes a run repeatable. What is simulated are the network, the
//! API, the token endpoint and the store's delay; `OAuth2Layer`, `TokenCache`, `TokenStoreLayer`,
//! `MemoryStore` and `TokenEndpoint` are the real ones. The tables go to stdout, as Markdown.

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
            Err(error) => complain(&error, 1),
        },
        Err(error) => complain(&error, 2),
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

fn complain(error: &dyn Error, code: u8) -> ExitCode {
    eprintln!("fleet: {error}");
    code.into()
}
