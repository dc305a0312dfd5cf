//! What happened, next to what was promised.

use std::fmt;
use std::process::ExitCode;

/// Requests that went over the wire.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) api: usize,
    /// Those of them that were answered with 401.
    pub(crate) rejected: usize,
    pub(crate) token_endpoint: usize,
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

#[derive(Default)]
pub(crate) struct Report {
    step: &'static str,
    broken: Vec<String>,
}

impl Report {
    pub(crate) fn begin(&mut self, step: &'static str) {
        self.step = step;
        println!("\n{step}");
    }

    /// Something that the step is expected to bring about.
    pub(crate) fn expect(&mut self, what: &str, holds: bool) {
        println!("  {:<10}{what}", if holds { "seen" } else { "NOT SEEN" });
        if !holds {
            self.broken.push(format!("{}: not seen: {what}", self.step));
        }
    }

    pub(crate) fn wire(&mut self, happened: Wire, promised: Wire, rule: &str) {
        println!("  happened  {happened}");
        println!("  promised  {promised}");
        println!("            {rule}");
        if happened != promised {
            self.broken.push(format!("{}: {happened}; promised: {promised}", self.step));
        }
    }

    pub(crate) fn conclude(self) -> ExitCode {
        if self.broken.is_empty() {
            println!("\nEverything happened as promised.");
            return ExitCode::SUCCESS;
        }
        for broken in &self.broken {
            eprintln!("quickstart: {broken}");
        }
        ExitCode::FAILURE
    }
}
