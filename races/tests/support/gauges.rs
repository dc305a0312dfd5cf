//! The gauges of the crate's metrics. They must be right in every order of the threads.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use metrics::{
    Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use races_std::point;

pub const BROKEN_APIS: &str = "tower_oauth2.broken_apis";
pub const FAILING_CREDENTIALS: &str = "tower_oauth2.failing_credentials";

thread_local! {
    /// All tasks of an execution run on one thread.
    static GAUGES: RefCell<BTreeMap<String, f64>> = const { RefCell::new(BTreeMap::new()) };
}

/// Returns the value of a gauge.
pub fn gauge(name: &str) -> f64 {
    GAUGES.with_borrow(|gauges| gauges.get(name).copied().unwrap_or_default())
}

/// Sets all gauges to 0, at the start of an execution.
pub fn reset() {
    GAUGES.take();
}

/// Keeps the gauges and ignores all other metrics.
pub struct GaugeRecorder;

impl Recorder for GaugeRecorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(NamedGauge(key.name().to_owned())))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

struct NamedGauge(String);

impl GaugeFn for NamedGauge {
    fn increment(&self, value: f64) {
        // A recorder takes time, in which other threads run.
        point();
        GAUGES.with_borrow_mut(|gauges| *gauges.entry(self.0.clone()).or_default() += value);
    }

    fn decrement(&self, value: f64) {
        self.increment(-value);
    }

    fn set(&self, value: f64) {
        GAUGES.with_borrow_mut(|gauges| gauges.insert(self.0.clone(), value));
    }
}
