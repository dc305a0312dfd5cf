//! What a hit costs in instructions, as valgrind counts them, and whether it is within its budget.
//!
//! `cargo bench --bench instructions` (needs valgrind). The figures are the same on a busy machine.

#![allow(missing_docs, unreachable_pub)]

mod cases;

use std::env;
use std::process::{Command, ExitCode};

use cases::{Body, CASES, Measure, run, send};
use http::{Request, Response};
use tower::Service;

/// Case, the case that it is compared with, and how much of that it may cost.
const BUDGETS: &[(&str, &str, f64)] = &[("never", "static", 1.15), ("hit", "static-cloned", 1.05)];

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    if let [flag, case, calls] = &args[..] {
        if flag == "--count" {
            run(case, Counted(calls.parse().expect("a number of calls")));
            return ExitCode::SUCCESS;
        }
    }
    let Some(table) = CASES.iter().map(|(case, _)| per_call(case)).collect::<Option<Vec<_>>>()
    else {
        eprintln!("valgrind is needed, and was not found or did not count");
        return ExitCode::FAILURE;
    };
    println!("| a request through | instructions |\n|---|---|");
    for ((_, name), count) in CASES.iter().zip(&table) {
        println!("| {name} | {count:.0} |");
    }
    println!();
    let of = |case: &str| table[CASES.iter().position(|(name, _)| *name == case).expect("a case")];
    let mut is_within = true;
    for (case, beside, budget) in BUDGETS {
        let ratio = of(case) / of(beside);
        is_within &= ratio <= *budget;
        let verdict = if ratio <= *budget { "within" } else { "OVER" };
        println!("{case} / {beside} = {ratio:.3}, {verdict} its budget of {budget}");
    }
    if is_within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Instructions per call: what the second thousand adds to the first.
fn per_call(case: &str) -> Option<f64> {
    let (few, many) = (count(case, 1_000)?, count(case, 2_000)?);
    Some((many - few) / 1_000.0)
}

fn count(case: &str, calls: usize) -> Option<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*measured*")
        .arg(env::current_exe().ok()?)
        .args(["--count", case, &calls.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let (_, collected) = text.split_once("Collected : ")?;
    collected.split_whitespace().next()?.parse().ok()
}

struct Counted(usize);

impl Measure for Counted {
    fn measure<S, E>(self, mut service: S, mut request: impl FnMut() -> Request<Body>)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = E> + Clone,
        E: std::fmt::Debug,
    {
        for _ in 0..self.0 {
            measured(&mut service, request());
        }
    }
}

/// Valgrind counts in here and nowhere else.
#[inline(never)]
fn measured<S, E>(service: &mut S, request: Request<Body>)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = E>,
    E: std::fmt::Debug,
{
    send(service, request);
}
