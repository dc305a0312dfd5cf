//! Measures the instructions and allocations of a request with callgrind, and checks their budgets.
//!
//! These figures are the same on a busy machine. The time is measured on request.
//!
//! `cargo bench --bench instructions`, and `-- --time` for the time as well (needs valgrind).

#![allow(missing_docs, unreachable_pub)]

mod cases;

use std::env;
use std::process::ExitCode;

use cases::counted::{Counts, count, is_asked_for};
use cases::in_flight::{self, PerCredentials, SIZES};
use cases::timed::Stopwatch;
use cases::{CASES, run, scope};

/// The case, the case that it is compared with, and its share of the instructions. It may allocate
/// no more.
const BUDGETS: &[(&str, &str, f64)] = &[("never", "static", 1.15), ("hit", "static-cloned", 0.90)];

/// The case, and the case that it is compared with. It may allocate no more.
const NO_ALLOCATION_MORE: &[(&str, &str)] =
    &[("hit-of-10000", "hit-named"), ("hit-of-10000-hot", "hit-named")];

/// Largest ratio between the instructions per insert, or per release, at two of the sizes.
const IN_FLIGHT_BUDGET: f64 = 1.5;

/// The largest ratio between the instructions per name of the largest and the smallest scope.
const SCOPE_BUDGET: f64 = 1.25;

/// Differences: the name, the case with the feature, and the case without it.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    ("one DPoP proof (ES256)", "hit-dpop", "hit"),
    ("one assertion (ES256)", "token-request-jwt", "token-request"),
];

fn main() -> ExitCode {
    let run_case = |case: &str, counted| match in_flight::size(case) {
        Some(size) => in_flight::run(size),
        None if case == scope::NAME => scope::run(),
        None => run(case, counted),
    };
    if is_asked_for(run_case) {
        return ExitCode::SUCCESS;
    }
    let in_flight = SIZES.iter().map(|size| in_flight::count(*size)).collect::<Option<Vec<_>>>();
    let counts = CASES.iter().map(|case| count(case.name)).collect::<Option<Vec<_>>>();
    let (Some(counts), Some(in_flight), Some(scopes)) = (counts, in_flight, scope::count()) else {
        eprintln!("valgrind is needed, and was not found or did not count");
        return ExitCode::FAILURE;
    };
    let with_time = env::args().any(|arg| arg == "--time");
    let times = with_time.then(|| {
        let mut stopwatch = Stopwatch::new();
        CASES
            .iter()
            .map(|case| stopwatch.time(case.name, |case, timed| run(case, timed)))
            .collect::<Vec<_>>()
    });
    table(&counts, times.as_deref());
    println!();
    in_flight_table(&in_flight);
    println!();
    let are_within = [judge(&counts), judge_in_flight(&in_flight), judge_scopes(&scopes)];
    if are_within == [true; 3] { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn index(case: &str) -> usize {
    CASES.iter().position(|known| known.name == case).expect("a case")
}

fn table(counts: &[Counts], times: Option<&[f64]>) {
    let head = times.map_or("", |_| " time |");
    println!("| a request through | instructions | allocations |{head}");
    println!("|---|--:|--:|{}", head.replace(" time ", "--:"));
    let row = |what: &str, instructions: f64, allocations: f64, time: Option<f64>| {
        let time = time.map(|time| format!(" {} |", duration(time))).unwrap_or_default();
        println!("| {what} | {} | {allocations:.0} |{time}", thousands(instructions));
    };
    for (n, case) in CASES.iter().enumerate() {
        let Counts { instructions, allocations } = counts[n];
        row(case.what, instructions, allocations, times.map(|times| times[n]));
    }
    for (what, with, without) in DIFFERENCES {
        let (with, without) = (index(with), index(without));
        row(
            &format!("{what}, by difference"),
            counts[with].instructions - counts[without].instructions,
            counts[with].allocations - counts[without].allocations,
            times.map(|times| times[with] - times[without]),
        );
    }
}

fn in_flight_table(counts: &[PerCredentials]) {
    println!(
        "| credentials in flight at once | capacity | instructions per insert | per release |"
    );
    println!("|--:|--:|--:|--:|");
    for (size, PerCredentials { insert, release }) in SIZES.into_iter().zip(counts) {
        println!(
            "| {} | {} | {} | {} |",
            thousands(size as f64),
            thousands((size / 3) as f64),
            thousands(insert.instructions),
            thousands(release.instructions)
        );
    }
}

/// Prints and returns whether inserts and releases take constant work.
fn judge_in_flight(counts: &[PerCredentials]) -> bool {
    let is_within = |what: &str, of: fn(&PerCredentials) -> f64| {
        let most = counts.iter().map(of).fold(f64::MIN, f64::max);
        let fewest = counts.iter().map(of).fold(f64::MAX, f64::min);
        let ratio = most / fewest;
        let verdict = if ratio <= IN_FLIGHT_BUDGET { "within" } else { "**OVER**" };
        println!(
            "- {verdict}: {what} takes at most {ratio:.3} times the fewest instructions (budget {IN_FLIGHT_BUDGET})"
        );
        ratio <= IN_FLIGHT_BUDGET
    };
    let inserts = is_within("an insert over capacity", |counts| counts.insert.instructions);
    inserts & is_within("a release over capacity", |counts| counts.release.instructions)
}

/// Prints whether a scope takes work in proportion to its names, and returns it.
fn judge_scopes(per_name: &[f64]) -> bool {
    for (size, instructions) in scope::SIZES.into_iter().zip(per_name) {
        let (size, instructions) = (thousands(size as f64), thousands(*instructions));
        println!("- a scope of {size} names takes {instructions} instructions per name");
    }
    let ratio = per_name[per_name.len() - 1] / per_name[0];
    let is_within = ratio <= SCOPE_BUDGET;
    let verdict = if is_within { "within" } else { "**OVER**" };
    println!(
        "- {verdict}: a name of the largest scope takes {ratio:.3} of one of the smallest (budget {SCOPE_BUDGET})"
    );
    is_within
}

/// Returns whether everything is within its budget.
fn judge(counts: &[Counts]) -> bool {
    let mut all_is_well = true;
    let mut say = |is_well: bool, what: String| {
        all_is_well &= is_well;
        println!("- {}: {what}", if is_well { "within" } else { "**OVER**" });
    };
    let more = |case: &str, beside: &str| {
        counts[index(case)].allocations - counts[index(beside)].allocations
    };
    for (case, beside, budget) in BUDGETS {
        let ratio = counts[index(case)].instructions / counts[index(beside)].instructions;
        let more = more(case, beside);
        say(
            ratio <= *budget && more <= 0.0,
            format!(
                "`{case}` takes {ratio:.3} of the instructions of `{beside}` (budget {budget}), and {more:+.0} allocations"
            ),
        );
    }
    for (case, beside) in NO_ALLOCATION_MORE {
        let more = more(case, beside);
        say(more <= 0.0, format!("`{case}` takes {more:+.0} allocations beside `{beside}`"));
    }
    all_is_well
}

fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

fn duration(nanoseconds: f64) -> String {
    if nanoseconds < 10_000.0 {
        format!("{nanoseconds:.0} ns")
    } else {
        format!("{:.1} µs", nanoseconds / 1000.0)
    }
}
