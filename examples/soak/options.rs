//! Command-line options.

use std::time::Duration;

use lexopt::prelude::*;

pub(crate) const HELP: &str = "\
Usage: soak [OPTION]...

Runs callers against a failing token endpoint, API and store, and checks every request.

  --seconds N   duration, from 2 to 86400 (default: 60)
  --callers N   number of concurrent callers, up to 10000 (default: 32)
  --seed N      seed of the random numbers (default: random)
";

pub(crate) enum Command {
    Help,
    Run(Options),
}

pub(crate) struct Options {
    pub(crate) time: Duration,
    pub(crate) callers: u64,
    pub(crate) seed: u64,
}

impl Options {
    pub(crate) fn parse() -> Result<Command, lexopt::Error> {
        let mut parser = lexopt::Parser::from_env();
        let (mut seconds, mut callers, mut seed) = (60, 32, None);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("help") | Short('h') => return Ok(Command::Help),
                Long("seconds") => seconds = between(&mut parser, 2, 86_400)?,
                Long("callers") => callers = between(&mut parser, 1, 10_000)?,
                Long("seed") => seed = Some(parser.value()?.parse()?),
                _ => return Err(argument.unexpected()),
            }
        }
        let seed = seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
        Ok(Command::Run(Self { time: Duration::from_secs(seconds), callers, seed }))
    }
}

fn between(parser: &mut lexopt::Parser, least: u64, most: u64) -> Result<u64, lexopt::Error> {
    parser.value()?.parse_with(|text: &str| match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("must be a number from {least} to {most}")),
    })
}
