//! A report that compares the requests on the wire with those promised.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::ops::Sub;
use std::process::ExitCode;

use tower::BoxError;

use super::issuer::Issuer;

/// Requests that went over the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) api: usize,
    /// The requests to the API that were answered with 401.
    pub(crate) rejected: usize,
    pub(crate) token_endpoint: usize,
}

impl Sub for Wire {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            api: self.api - earlier.api,
            rejected: self.rejected - earlier.rejected,
            token_endpoint: self.token_endpoint - earlier.token_endpoint,
        }
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { api, rejected, token_endpoint } = self;
        write!(
            f,
            "{api} at the API, {rejected} of them 401; {token_endpoint} at the token endpoint"
        )
    }
}

/// The page that explains the rules.
const RULES: &str = "https://docs.rs/tower-oauth2/latest/tower_oauth2/guide/guarantees/";

pub(crate) struct Report {
    issuer: Issuer,
    step: String,
    /// The counts at the beginning of the step.
    before: Wire,
    /// The numbers of the rules that were printed, such as "C2".
    rules: BTreeSet<String>,
    broken: Vec<String>,
}

impl Report {
    /// Creates a report on the requests to `issuer` and to the APIs that use it.
    pub(crate) fn new(issuer: &Issuer) -> Self {
        let before = issuer.wire();
        let (step, rules, broken) = Default::default();
        Self { issuer: issuer.clone(), step, before, rules, broken }
    }

    /// Begins a step.
    pub(crate) fn begin(&mut self, step: impl Into<String>) {
        self.step = step.into();
        self.before = self.issuer.wire();
        println!("\n{}", self.step);
    }

    /// Reports an expected effect of the step.
    pub(crate) fn expect(&mut self, what: &str, holds: bool) {
        println!("  {:<10}{what}", if holds { "seen" } else { "NOT SEEN" });
        if !holds {
            self.broken.push(format!("{}: not seen: {what}", self.step));
        }
    }

    /// Ends the step, and compares its requests with those promised. `rule` is the reason for them.
    pub(crate) fn end(&mut self, promised: Wire, rule: &str) {
        let happened = self.issuer.wire() - self.before;
        println!("  happened  {happened}");
        println!("  promised  {promised}");
        println!("            {rule}");
        self.rules.extend(numbers(rule).map(str::to_owned));
        if happened != promised {
            self.broken.push(format!("{}: {happened}; promised: {promised}", self.step));
        }
    }

    fn conclude(self) -> ExitCode {
        println!();
        if !self.rules.is_empty() {
            let rules: Vec<_> = self.rules.iter().map(String::as_str).collect();
            println!("Read more about {} at {RULES}", rules.join(", "));
        }
        if self.broken.is_empty() {
            println!("Everything happened as promised.");
            return ExitCode::SUCCESS;
        }
        self.broken.iter().for_each(|broken| complain(broken));
        ExitCode::FAILURE
    }
}

/// Returns the numbers before a reason.
///
/// For example, these are C1 and C2 in "C1, C2: one token request".
fn numbers(rule: &str) -> impl Iterator<Item = &str> {
    let (numbers, _) = rule.split_once(": ").unwrap_or_default();
    numbers.split(", ").filter(|number| {
        let digits = number.strip_prefix(|letter: char| letter.is_ascii_uppercase());
        digits.is_some_and(|digits| digits.parse::<u8>().is_ok())
    })
}

/// Returns the exit code of an example, and prints its failures.
pub(crate) fn conclude(ran: Result<Report, BoxError>) -> ExitCode {
    match ran {
        Ok(report) => report.conclude(),
        Err(error) => {
            complain(&with_sources(&*error));
            ExitCode::FAILURE
        }
    }
}

fn complain(what: &str) {
    eprintln!("{}: {what}", env!("CARGO_BIN_NAME"));
}

fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
