//! Compares this crate with similar ones: the cost of a hit, and storms of requests.
//!
//! `cargo bench --manifest-path benches/peers/Cargo.toml` (needs valgrind), and `-- --time` for the
//! time as well.

#![allow(missing_docs, unreachable_pub)]

#[allow(dead_code, reason = "the other benches use all of it")]
#[path = "../cases/mod.rs"]
mod cases;
mod endpoint;
mod glue;
#[allow(dead_code, reason = "the other benches use all of it")]
#[path = "../load/storms.rs"]
mod storms;
#[allow(dead_code, reason = "the other benches use all of it")]
#[path = "../load/issuer.rs"]
mod issuer;

use std::env;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cases::counted::{Counts, count, is_asked_for};
use cases::timed::Stopwatch;
use cases::{Api, DAY, Measure, request};
use storms::{Outcome, STORMS, all};
use tokio::runtime::Runtime;
use issuer::Issuer;

/// The name and the case. The first ones are cases of the other benches too.
const CASES: [(&str, &str); 9] = [
    ("bare", "the service alone"),
    ("static", "`AddAuthorization`"),
    ("never", "`tower-oauth2`, `ReplayPolicy::never`"),
    ("middle", "`middle`: no replay"),
    ("kube", "`kube-client`, token out of a file: no replay"),
    ("cf-gears", "`cf-gears-toolkit-auth`, `BearerAuthLayer`: no replay"),
    ("hit", "`tower-oauth2`"),
    ("cf-gears-refresh", "`cf-gears-toolkit-auth`, `BearerAuthAutoRefreshLayer`"),
    ("huskarl", "`huskarl`, `HttpAuthorizer` in the loop of its guide"),
];

fn main() -> ExitCode {
    if is_asked_for(run) {
        return ExitCode::SUCCESS;
    }
    let Some(counts) = CASES.iter().map(|(case, _)| count(case)).collect::<Option<Vec<_>>>() else {
        eprintln!("valgrind is needed, and was not found or did not count");
        return ExitCode::FAILURE;
    };
    let times = env::args().any(|arg| arg == "--time").then(|| {
        let mut stopwatch = Stopwatch::new();
        let time = |(case, _): &(&str, _)| stopwatch.time(case, |case, timed| run(case, timed));
        CASES.iter().map(time).collect::<Vec<_>>()
    });
    let head = times.as_ref().map_or("", |_| " time |");
    println!("| a request through | instructions | allocations |{head}");
    println!("|---|--:|--:|{}", head.replace(" time ", "--:"));
    for (n, (_, what)) in CASES.iter().enumerate() {
        let Counts { instructions, allocations } = counts[n];
        let time = times.as_ref().map(|times| format!(" {:.0} ns |", times[n])).unwrap_or_default();
        println!("| {what} | {instructions:.0} | {allocations:.0} |{time}");
    }
    println!();
    storm();
    ExitCode::SUCCESS
}

fn run(case: &str, with: impl Measure) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = &runtime.expect("a runtime");
    let entered = runtime.enter();
    let issuer = Issuer::new(DAY, Duration::ZERO);
    match case {
        "middle" => {
            let service = runtime.block_on(glue::middle(&issuer, Api));
            warmed(runtime, with, service);
        }
        "cf-gears" => warmed(runtime, with, runtime.block_on(glue::cf_gears(&issuer, Api))),
        "cf-gears-refresh" => {
            warmed(runtime, with, runtime.block_on(glue::cf_gears_refresh(&issuer, Api)));
        }
        "huskarl" => warmed(runtime, with, runtime.block_on(glue::huskarl(&issuer, Api))),
        "kube" => warmed(runtime, with, glue::kube(Api)),
        _ => cases::run(case, with),
    }
    drop(entered);
}

/// Returns the service with a token in its cache.
fn warmed<S>(runtime: &Runtime, with: impl Measure, mut service: S)
where
    S: tower::Service<http::Request<cases::Body>> + Clone,
    S::Error: std::fmt::Debug,
{
    runtime.block_on(tower::ServiceExt::ready(&mut service)).map(drop).expect("an API that is ready");
    runtime.block_on(service.call(request())).map(drop).expect("a token");
    with.measure(service, request);
}

fn storm() {
    let runtime = runtime(2);
    let ours = async |issuer: &Issuer, api| issuer.ours(api, |cache| cache);
    let ours = runtime.block_on(all(ours));
    let middle = runtime.block_on(all(async |issuer: &Issuer, api| glue::middle(issuer, api).await));
    let cf_gears =
        runtime.block_on(all(async |issuer: &Issuer, api| glue::cf_gears_refresh(issuer, api).await));
    let huskarl = runtime.block_on(all(async |issuer: &Issuer, api| glue::huskarl(issuer, api).await));
    println!(
        "| token requests in a storm | `tower-oauth2` | `cf-gears-toolkit-auth` | `huskarl` | `middle` |"
    );
    println!("|---|--:|--:|--:|--:|");
    let columns: [[Outcome; STORMS.len()]; 4] = [ours, cf_gears, huskarl, middle];
    for (n, storm) in STORMS.iter().enumerate() {
        let cells = columns.map(|outcomes| outcomes[n].to_string());
        println!("| {storm} | {} |", cells.join(" | "));
    }
}

fn now() -> Instant {
    Instant::now()
}

fn runtime(threads: usize) -> Runtime {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    runtime.expect("a runtime")
}
