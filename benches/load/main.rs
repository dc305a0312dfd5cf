//! Measures many credentials and many concurrent callers.
//!
//! The measurements use a real server, a growing number of tasks, the replacement of a token, and
//! storms.
//!
//! `cargo bench --bench load` runs all. `-- many`, `loopback`, `scaling`, `stalls` or `storms` runs
//! one of them, and `--svg DIRECTORY` writes pictures.

#![allow(missing_docs, unreachable_pub)]

#[allow(dead_code, reason = "the other benches use all of it")]
#[path = "../cases/mod.rs"]
mod cases;
mod issuer;
mod loopback;
mod many;
mod picture;
mod scaling;
mod stalls;
mod storms;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use std::{env, fs};

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    let svg = args.iter().position(|arg| arg == "--svg").and_then(|at| args.get(at + 1));
    let pictures = Pictures(svg.map(PathBuf::from));
    let parts: [Part; 5] = [
        ("many", |_| timed(many::run)),
        ("loopback", |_| timed(loopback::run)),
        ("scaling", |pictures| timed(|| scaling::run(pictures))),
        ("stalls", |pictures| timed(|| stalls::run(pictures))),
        ("storms", |_| storms::run()),
    ];
    let is_asked_for = |name: &str| args.iter().any(|arg| arg == name);
    let all = !parts.iter().any(|(name, _)| is_asked_for(name));
    let mut code = ExitCode::SUCCESS;
    for (name, run) in parts {
        if all || is_asked_for(name) {
            if !run(&pictures) {
                code = ExitCode::FAILURE;
            }
            println!();
        }
    }
    code
}

/// The name of a measurement, and the function that runs it and checks its budgets.
type Part = (&'static str, fn(&Pictures) -> bool);

/// Times are printed and not checked, because a busy machine changes them.
fn timed(run: impl FnOnce()) -> bool {
    run();
    true
}

/// The folder for pictures, if any.
struct Pictures(Option<PathBuf>);

impl Pictures {
    fn write(&self, name: &str, svg: impl FnOnce() -> String) {
        if let Some(directory) = &self.0 {
            fs::write(directory.join(name), svg()).expect("a directory that can be written to");
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "real time is what is measured")]
fn now() -> Instant {
    Instant::now()
}

fn median(all: &mut [f64]) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn runtime(threads: usize) -> tokio::runtime::Runtime {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    runtime.expect("a runtime")
}
