//! An hour's worth of trouble in a minute: callers by the dozen, some of whom give up, against a token endpoint, an API and
//! a store that break down in turn, over loopback. Every request is accounted for on both sides, and nothing is left behind.
//!
//! Two rounds of the same: a short one, after which all is dropped and what the heap holds is the measure, and the
//! long one, which may hold no more when it is over. Ends with a table, and with an error if a promise was broken.

mod api;
mod authority;
mod body;
mod caller;
mod figures;
mod ledger;
mod memory;
mod options;
mod round;
#[allow(dead_code, reason = "connections are accepted another way here")]
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
        // What the first one came to is told with the second.
        let (before, mut broken) = (HEAP.current_usage(), first.broken);
        let mut figures: Figures = round::run(options, options.time - short)?;
        let after = HEAP.current_usage();
        // The figures themselves are there now, and were dropped before.
        let grown = after.saturating_sub(before).saturating_sub(figures.heap_size());
        figures.left_on_heap = Some(grown);
        if grown > HEAP_MAY_GROW {
            figures.broken.push(format!("{grown} bytes more are left on the heap"));
        }
        figures.broken.append(&mut broken);
        Ok(figures)
    });
    match rounds {
        Ok(figures) => {
            print!("{figures}");
            let few = figures.broken.iter().take(20);
            few.for_each(|broken| eprintln!("soak: {broken}"));
            if figures.broken.is_empty() {
                println!("\nEvery request is accounted for, and nothing is left behind.");
                return ExitCode::SUCCESS;
            }
            let count = figures.broken.len();
            eprintln!("soak: {count} promises broken; to repeat: --seed {}", options.seed);
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}
