//! What the command line asks for.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

use crate::day::Plan;
use crate::scenario::Scenario;

pub(crate) const HELP: &str = "\
Usage: fleet [OPTION]...

Simulates a fleet of clients and prints what reaches the token endpoint, as Markdown.

  --instances N      instances of the service, 10000 unless set
  --hours N          24 unless set
  --lifetime SECONDS how long a token lives, 3600 unless set
  --every SECONDS    between two calls of one instance, on average: 45 unless set
  --latency MS       of the token endpoint, 50 unless set
  --outage-at MIN    when the token endpoint goes down, 5 minutes before a quarter of the run is over
                     unless set
  --outage-for MIN   for how long, 10 unless set
  --revoke-at MIN    when all tokens are revoked, five eighths into the run unless set
  --scenario NAME    one of these and not all of them; may be repeated:
                     jitter, jitter-store, fixed, fixed-store, on-expiry, on-401
  --seed N           of the random numbers, 1 unless set
  --svg FILE         draws a picture too
  --quick            200 instances, 4 hours
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
        let (mut instances, mut hours) = (10_000, 24);
        let (mut lifetime, mut every, mut latency, mut seed) = (3600, 45, 50, 1);
        let (mut outage_at, mut outage_for, mut revoked_at) = (None, 10, None);
        let (mut scenarios, mut svg) = (Vec::new(), None);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("help") | Short('h') => return Ok(Command::Help),
                Long("quick") => (instances, hours) = (200, 4),
                Long("instances") => instances = number(&mut parser)?,
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
            instances,
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
    // What is larger than that takes longer than anybody waits, and more memory than there is.
    let at_most = |text: &str| match text.parse::<NonZeroU32>() {
        Ok(number) if number.get() <= 1_000_000 => Ok(number.get()),
        _ => Err("it is to be a number from 1 to 1000000"),
    };
    parser.value()?.parse_with(at_most)
}
