use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, LocalRecorderGuard,
    Metadata, Recorder, SharedString, Unit,
};

/// A name and its unit.
pub type Described = (String, Option<Unit>);

/// Records all metrics of this thread as text: names, labels, values.
#[derive(Clone, Default)]
pub struct Meter {
    calls: Arc<AtomicUsize>,
    described: Arc<Mutex<Vec<Described>>>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Meter {
    /// Records until the guard is dropped. Needs a current-thread runtime.
    pub fn start() -> (Self, LocalRecorderGuard<'static>) {
        let meter = Self::default();
        let guard = metrics::set_default_local_recorder(Box::leak(Box::new(meter.clone())));
        (meter, guard)
    }

    /// Returns the number of all calls of the recorder and of its handles.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Returns the described metrics and their units.
    pub fn described(&self) -> Vec<Described> {
        self.described.lock().unwrap().clone()
    }

    /// Returns the values since the last call, in order: `name{label=value,...} value`.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }

    /// Takes the measurements of one name, without the name.
    pub fn take_of(&self, name: &str) -> Vec<String> {
        let lines = self.take();
        lines.iter().filter_map(|line| line.strip_prefix(name)).map(ToOwned::to_owned).collect()
    }

    fn describe(&self, name: KeyName, unit: Option<Unit>) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.described.lock().unwrap().push((name.as_str().to_owned(), unit));
    }

    fn register(&self, key: &Key) -> Arc<Handle> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let labels = key.labels().map(|label| format!("{}={}", label.key(), label.value()));
        let labels = labels.collect::<Vec<_>>().join(",");
        Arc::new(Handle { meter: self.clone(), name: format!("{}{{{labels}}}", key.name()) })
    }
}

struct Handle {
    meter: Meter,
    name: String,
}

impl Handle {
    fn record_line(&self, value: f64) {
        self.meter.calls.fetch_add(1, Ordering::SeqCst);
        self.meter.lines.lock().unwrap().push(format!("{} {value}", self.name));
    }
}

impl CounterFn for Handle {
    fn increment(&self, value: u64) {
        self.record_line(value as f64);
    }

    fn absolute(&self, _: u64) {
        unreachable!("counters are incremented only");
    }
}

impl GaugeFn for Handle {
    fn increment(&self, value: f64) {
        self.record_line(value);
    }

    fn decrement(&self, value: f64) {
        self.record_line(-value);
    }

    fn set(&self, _: f64) {
        unreachable!("several caches share a gauge, so none can set it");
    }
}

impl HistogramFn for Handle {
    fn record(&self, value: f64) {
        self.record_line(value);
    }
}

impl Recorder for Meter {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(name, unit);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(name, unit);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(name, unit);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.register(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.register(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.register(key))
    }
}
