//! A hit among many credentials, beside a hit on the only ones: how much longer it takes.

use std::hint::black_box;

use http::Request;
use tower::{Layer, Service};

use crate::cases::stacks::{credentials, endless, layer, tokens};
use crate::cases::{Api, Body, crowd, naming, send};
use crate::{median, now};

/// A few requests at a time, so that none is far from the processor because it has waited.
const BATCH: usize = 16;
const ROUNDS: usize = 20_000;

const BUDGET: f64 = 150.0;

pub fn run() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let own = credentials(0);
    let cache = tokens(own.clone(), endless());
    runtime.block_on(cache.warm()).expect("the source always answers");
    let others = crowd(&runtime, &cache);
    let mut service = layer(cache).layer(Api);

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
    // Apart from the others: whatever is done in between is out of the way when a round through all is made.
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
        println!("| {what} | {time:.0} ns | {:+.0} ns (budget {BUDGET:+.0} ns) |", time - alone);
    }
}

/// Nanoseconds per request.
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
