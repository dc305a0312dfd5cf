//! What a hit costs in time and allocations, beside a token that never changes.
//!
//! `cargo bench --bench hit`

#![allow(missing_docs, unreachable_pub)]

mod cases;

use cases::{Body, Measure, run, send};
use divan::{AllocProfiler, Bencher};
use http::{Request, Response};
use tower::Service;

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench(args = cases::CASES.iter().map(|(case, _)| *case))]
fn request(bencher: Bencher<'_, '_>, case: &str) {
    run(case, Timed(bencher));
}

struct Timed<'a, 'b>(Bencher<'a, 'b>);

impl Measure for Timed<'_, '_> {
    fn measure<S, E>(self, mut service: S, request: impl FnMut() -> Request<Body>)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = E> + Clone,
        E: std::fmt::Debug,
    {
        self.0.with_inputs(request).bench_local_values(|request| {
            send(&mut service, request);
        });
    }
}
