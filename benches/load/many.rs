//! Compares a hit among many credentials with a hit on the only credentials.

use std::hint::black_box;

use http::Request;
use tower::Service;

use crate::cases::stacks::{cache, credentials, endless, layer};
use crate::cases::{Api, Body, crowd, naming, send};
use crate::{median, now};

/// The number of requests in flight, small enough for the caches of the processor.
const BATCH: usize = 16;
const ROUNDS: usize = 20_000;

pub fn run() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let cache = cache(endless());
    let own = cache.tokens(&credentials(0));
    runtime.block_on(own.warm()).expect("the source always answers");
    let others = crowd(&runtime, &cache);
    let mut service = layer(own.clone()).layer(Api);

    let mut turn = 0;
    let mut one_of = |busy: usize| {
        turn = (turn + 1) % busy;
        naming(&others[turn])
    };
    let (mut alone, mut hot, mut cold) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(time(&mut service, || naming(&own)));
        hot.push(time(&mut service, || one_of(64)));
    }
    // Measured separately, because a round through all credentials displaces the data of other
    // rounds from the caches.
    for _ in 0..ROUNDS {
        cold.push(time(&mut service, || one_of(others.len())));
        alone.push(time(&mut service, || naming(&own)));
    }
    let alone = median(&mut alone);
    println!("| a hit, named in the request | time | more than on the only ones |\n|---|--:|--:|");
    println!("| the only credentials | {alone:.0} ns | |");
    for (what, times) in [
        ("one of 10,000, 64 of them busy", &mut hot),
        ("one of 10,000, all busy in turn", &mut cold),
    ] {
        let time = median(times);
        println!("| {what} | {time:.0} ns | {:+.0} ns |", time - alone);
    }
}

/// Returns the nanoseconds per request.
fn time<S>(service: &mut S, mut next: impl FnMut() -> Request<Body>) -> f64
where
    S: Service<Request<Body>>,
    S::Error: std::fmt::Debug,
{
    let requests: [_; BATCH] = std::array::from_fn(|_| next());
    let start = now();
    for request in black_box(requests) {
        send(service, request);
    }
    start.elapsed().as_secs_f64() * 1e9 / BATCH as f64
}
