//! Time per call, as criterion measures it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::{BatchSize, Criterion};
use tokio::runtime::Runtime;
use tower::Service;

use super::{Measure, send, send_waiting};

pub struct Stopwatch {
    criterion: Criterion,
    directory: PathBuf,
}

impl Stopwatch {
    pub fn new() -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("criterion");
        let criterion = Criterion::default()
            .output_directory(&directory)
            .sample_size(60)
            .nresamples(10_000)
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_millis(1500));
        Self { criterion, directory }
    }

    /// Returns the median time of a call in nanoseconds.
    pub fn time(&mut self, case: &str, run: impl FnOnce(&str, Timed<'_>)) -> f64 {
        run(case, Timed { case, criterion: &mut self.criterion });
        let file = self.directory.join(case).join("new/estimates.json");
        let text = fs::read_to_string(file).expect("criterion writes the file");
        let estimates: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        estimates["median"]["point_estimate"].as_f64().expect("a number")
    }
}

pub struct Timed<'a> {
    case: &'a str,
    criterion: &'a mut Criterion,
}

impl Measure for Timed<'_> {
    fn measure<S, R>(self, mut service: S, next: impl FnMut() -> R)
    where
        S: Service<R> + Clone,
        S::Error: std::fmt::Debug,
    {
        self.bench(next, |request| send(&mut service, request), FEW);
    }

    fn measure_waiting<S, R>(
        self,
        runtime: &Runtime,
        mut service: S,
        next: impl FnMut() -> R,
        is_staged: bool,
    ) where
        S: Service<R> + Clone,
        S::Error: std::fmt::Debug,
    {
        let batch = if is_staged { BatchSize::PerIteration } else { FEW };
        self.bench(next, |request| send_waiting(runtime, &mut service, request), batch);
    }
}

/// Thousands of prepared requests would fill the caches of the processor.
const FEW: BatchSize = BatchSize::NumIterations(32);

impl Timed<'_> {
    fn bench<R>(self, mut next: impl FnMut() -> R, mut send: impl FnMut(R), batch: BatchSize) {
        self.criterion.bench_function(self.case, |bencher| {
            bencher.iter_batched(&mut next, &mut send, batch);
        });
    }
}
