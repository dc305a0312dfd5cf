//! Instructions and allocations per call, as callgrind counts them.

use std::process::Command;
use std::{env, fs};

use tokio::runtime::Runtime;
use tower::Service;

use super::{Measure, send, send_waiting};

/// The counts of one call.
#[derive(Clone, Copy)]
pub struct Counts {
    pub instructions: f64,
    pub allocations: f64,
}

/// The argument with which this program runs one case for callgrind.
const COUNT: &str = "--count";
/// The number of calls that are counted, each on its own.
const CALLS: usize = 16;
/// The number of calls before them, which do the one-time work.
const WARM_UP: usize = 64;

/// Runs the case that the command line names, if any.
pub fn is_asked_for(run: impl FnOnce(&str, Counted)) -> bool {
    let args: Vec<_> = env::args().skip(1).collect();
    match &args[..] {
        [flag, case] if flag == COUNT => {
            run(case, Counted(()));
            true
        }
        _ => false,
    }
}

/// Returns the counts per call, or `None` without valgrind.
pub fn count(case: &str) -> Option<Counts> {
    let counts = count_calls(case, CALLS)?;
    let mean = |of: fn(&Counts) -> f64| counts.iter().map(of).sum::<f64>() / CALLS as f64;
    Some(Counts { instructions: mean(|c| c.instructions), allocations: mean(|c| c.allocations) })
}

/// Counts each of the `calls` that the case measures. Returns `None` without valgrind.
pub fn count_calls(case: &str, calls: usize) -> Option<Vec<Counts>> {
    let program = env::current_exe().ok()?;
    let name = format!("callgrind.{}.{case}", std::process::id());
    let file = program.with_file_name(name);
    // Each call of the toggled function gets its own report.
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--compress-strings=no"])
        .args(["--zero-before=*measured", "--dump-after=*measured"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .args([COUNT, case])
        .output()
        .ok()?;
    let _ = fs::remove_file(&file);
    let mut counts = Vec::with_capacity(calls);
    for call in 1..=calls {
        let file = file.with_extension(format!("{case}.{call}"));
        let report = fs::read_to_string(&file);
        let _ = fs::remove_file(&file);
        let Ok(report) = report else {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
            return None;
        };
        let summary = report.lines().find_map(|line| line.strip_prefix("summary: "));
        counts.push(Counts {
            instructions: summary?.trim().parse::<u64>().ok()? as f64,
            allocations: calls_of_the_allocator(&report) as f64,
        });
    }
    Some(counts)
}

/// Returns the number of calls of the allocator that callgrind reports. A line names the function,
/// and the next one has the number of its calls.
fn calls_of_the_allocator(report: &str) -> u64 {
    const ALLOCATE: [&str; 4] = ["malloc", "calloc", "realloc", "posix_memalign"];
    let (mut sum, mut is_it) = (0, false);
    for line in report.lines() {
        if let Some(name) = line.strip_prefix("cfn=") {
            is_it = ALLOCATE.contains(&name);
        } else if let Some(rest) = line.strip_prefix("calls=").filter(|_| is_it) {
            let count = rest.split_whitespace().next().and_then(|count| count.parse().ok());
            sum += count.unwrap_or(0);
        }
    }
    sum
}

pub struct Counted(());

impl Measure for Counted {
    fn measure<S, R>(self, mut service: S, mut next: impl FnMut() -> R)
    where
        S: Service<R> + Clone,
        S::Error: std::fmt::Debug,
    {
        (0..WARM_UP).for_each(|_| send(&mut service, next()));
        (0..CALLS).for_each(|_| measured(next(), |request| send(&mut service, request)));
    }

    fn measure_waiting<S, R>(
        self,
        runtime: &Runtime,
        mut service: S,
        mut next: impl FnMut() -> R,
        _: bool,
    ) where
        S: Service<R> + Clone,
        S::Error: std::fmt::Debug,
    {
        (0..WARM_UP).for_each(|_| send_waiting(runtime, &mut service, next()));
        (0..CALLS).for_each(|_| measured(next(), |r| send_waiting(runtime, &mut service, r)));
    }
}

/// Sends a request. Callgrind counts the instructions of this function.
#[inline(never)]
pub fn measured<R>(request: R, mut send: impl FnMut(R)) {
    send(request);
}
