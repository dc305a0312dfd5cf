//! Command-line options.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

use crate::day::Plan;
use crate::scenario::Scenario;

pub(crate) const HELP: &str = "\
Usage: fleet [OPTION]...

Simulates a fleet of clients and prints the load on the token endpoint as Markdown.

  --processes N      processes that call the API (default: 10000)
  --hours N          length of the simulation (default: 24)
  --lifetime SECONDS lifetime of a token (default: 3600)
  --every SECONDS    mean time between two calls of one process (default: 45)
  --latency MS       latency of the token endpoint (default: 50)
  --outage-at MIN    start of the token endpoint's outage
                     (default: 5 minutes before a quarter of the simulation)
  --outage-for MIN   length of the outage (default: 10)
  --revoke-at MIN    time at which all tokens are revoked
                     (default: five eighths of the simulation)
  --scenario NAME    runs only this scenario; may be repeated:
                     jitter, jitter-store, fixed, fixed-store, on-expiry, on-401
                     (default: all scenarios)
  --seed N           seed of the random numbers (default: 1)
  --svg FILE         also writes a picture
  --quick            200 processes, 4 hours
";

pub(crate) enum Command {
    Help,
    Run(Options),
}

pub(crate) struct Options {
    pub(crate) plan: Plan,
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) svg: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse() -> Result<Command, lexopt::Error> {
        let mut parser = lexopt::Parser::from_env();
        let (mut processes, mut hours) = (10_000, 24);
        let (mut lifetime, mut every, mut latency, mut seed) = (3600, 45, 50, 1);
        let (mut outage_at, mut outage_for, mut revoked_at) = (None, 10, None);
        let (mut scenarios, mut svg) = (Vec::new(), None);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("help") | Short('h') => return Ok(Command::Help),
                Long("quick") => (processes, hours) = (200, 4),
                Long("processes") => processes = number(&mut parser)?,
                Long("hours") => hours = number(&mut parser)?,
                Long("lifetime") => lifetime = number(&mut parser)?,
                Long("every") => every = number(&mut parser)?,
                Long("latency") => latency = number(&mut parser)?,
                Long("outage-at") => outage_at = Some(parser.value()?.parse()?),
                Long("outage-for") => outage_for = parser.value()?.parse()?,
                Long("revoke-at") => revoked_at = Some(parser.value()?.parse()?),
                Long("seed") => seed = parser.value()?.parse()?,
                Long("scenario") => scenarios.push(parser.value()?.parse_with(Scenario::named)?),
                Long("svg") => svg = Some(parser.value()?.into()),
                _ => return Err(argument.unexpected()),
            }
        }
        let minutes = |minutes: u32| Duration::from_secs(60 * u64::from(minutes));
        let down = minutes(outage_at.unwrap_or(hours * 15 - 5));
        let plan = Plan {
            processes,
            hours,
            lifetime: Duration::from_secs(lifetime.into()),
            every: Duration::from_secs(every.into()),
            latency: Duration::from_millis(latency.into()),
            outage: down..down + minutes(outage_for),
            revoked: minutes(revoked_at.unwrap_or(hours * 75 / 2)),
            seed,
        };
        if scenarios.is_empty() {
            scenarios = Scenario::ALL.to_vec();
        }
        Ok(Command::Run(Self { plan, scenarios, svg }))
    }
}

fn number(parser: &mut lexopt::Parser) -> Result<u32, lexopt::Error> {
    // Larger numbers would need too much time and memory.
    let at_most = |text: &str| match text.parse::<NonZeroU32>() {
        Ok(number) if number.get() <= 1_000_000 => Ok(number.get()),
        _ => Err("must be a number from 1 to 1000000"),
    };
    parser.value()?.parse_with(at_most)
}
