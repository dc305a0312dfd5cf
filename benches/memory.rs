//! Measures the memory of idle credentials.
//!
//! `cargo bench --bench memory`

#![allow(missing_docs, unreachable_pub)]

#[allow(dead_code, reason = "the other benches use all of it")]
mod cases;

use std::process::ExitCode;

use allocation_counter::measure;
use cases::stacks::{cache, credentials, endless, secret};

const CREDENTIALS: usize = 10_000;
const BUDGET: f64 = 700.0;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let cache = cache(endless());
    let own = cache.tokens(&credentials(0));
    runtime.block_on(own.warm()).expect("the source always answers");

    // The runtime has a single thread, so everything is allocated on it.
    let mut all = Vec::with_capacity(CREDENTIALS);
    let of_credentials = measure(|| all.extend((1..=CREDENTIALS).map(credentials)));
    let of_cache = measure(|| {
        for credentials in &all {
            let tokens = cache.tokens(credentials);
            runtime.block_on(tokens.warm()).expect("the source always answers");
        }
    });
    assert_eq!(cache.len(), CREDENTIALS + 1, "the cache keeps all of them");

    let each = |bytes: i64| bytes as f64 / CREDENTIALS as f64;
    let (of_credentials, of_cache) =
        (each(of_credentials.bytes_current), each(of_cache.bytes_current));
    let token = secret(0).len() as f64;
    println!("| bytes for each of {CREDENTIALS} idle credentials | |\n|---|--:|");
    println!(
        "| kept by the cache, besides the {token:.0} of the token's text | {:.0} |",
        of_cache - token
    );
    println!(
        "| the credentials themselves, which their users hold anyway | {of_credentials:.0} |\n"
    );
    let is_within = of_cache - token <= BUDGET;
    let verdict = if is_within { "within" } else { "**OVER**" };
    println!("- {verdict}: {:.0} bytes besides the token (budget {BUDGET:.0})", of_cache - token);
    if is_within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
