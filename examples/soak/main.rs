//! Sends requests over loopback during failures. A token endpoint, an API and a store fail in turn,
//! and some of the many callers cancel their requests. The test compares what the callers and the
//! API saw of each request, and checks that no task, connection or memory leaks.
//!
//! It runs a short round and a long round. After each, everything is dropped. The heap may not be
//! larger after the long round than after the short one. The test prints a table, and fails if the
//! crate broke a promise.

mod api;
mod body;
mod caller;
mod figures;
mod issuer;
mod ledger;
mod memory;
mod options;
mod round;
#[allow(dead_code, reason = "the soak test accepts connections itself")]
#[path = "../support/server.rs"]
mod server;
mod servers;
mod stacks;
mod store;

use std::process::ExitCode;

use peak_alloc::PeakAlloc;

use self::figures::Figures;
use self::memory::HEAP_MAY_GROW;
use self::options::{Command, Options};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

fn main() -> ExitCode {
    match Options::parse() {
        Ok(Command::Help) => {
            print!("{}", options::HELP);
            ExitCode::SUCCESS
        }
        Ok(Command::Run(options)) => run(&options),
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> ExitCode {
    println!("seed {}, {} callers, {:?}", options.seed, options.callers, options.time);
    let short = options.time / 10;
    let rounds = round::run(options, short).and_then(|first| {
        // Promises that the first round broke are reported together with those of the second.
        let (before, mut broken) = (HEAP.current_usage(), first.broken);
        let mut figures: Figures = round::run(options, options.time - short)?;
        let after = HEAP.current_usage();
        // `before` does not contain the figures of its round, which were dropped, but `after` does.
        let grown = after.saturating_sub(before).saturating_sub(figures.heap_size());
        figures.left_on_heap = Some(grown);
        if grown > HEAP_MAY_GROW {
            figures
                .broken
                .push(format!("the heap is {grown} bytes larger than after the first round"));
        }
        figures.broken.append(&mut broken);
        Ok(figures)
    });
    match rounds {
        Ok(figures) => {
            print!("{figures}");
            let first = figures.broken.iter().take(20);
            first.for_each(|broken| eprintln!("soak: {broken}"));
            if figures.broken.is_empty() {
                println!("\nEvery request is accounted for, and nothing leaked.");
                return ExitCode::SUCCESS;
            }
            let count = figures.broken.len();
            eprintln!("soak: {count} promises broken; repeat the run with --seed {}", options.seed);
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}
