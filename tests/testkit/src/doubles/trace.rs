use std::fmt::{Debug, Write};
use std::sync::{Arc, LazyLock, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// Records all spans and events of this thread as text: levels, names, fields.
#[derive(Clone, Default)]
pub struct Trace(Arc<Mutex<Vec<String>>>);

impl Trace {
    /// Records until the guard is dropped. Needs a current-thread runtime.
    pub fn start() -> (Self, DefaultGuard) {
        // With one subscriber, a callsite that another thread reaches first would stay disabled.
        static SECOND: LazyLock<Dispatch> =
            LazyLock::new(|| Dispatch::new(tracing_subscriber::registry()));
        LazyLock::force(&SECOND);

        let trace = Self::default();
        let subscriber = tracing_subscriber::registry().with(trace.clone());
        (trace, tracing::subscriber::set_default(subscriber))
    }

    /// Returns the lines of this crate.
    pub fn lines(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|line| line.contains("tower_oauth2")).cloned().collect()
    }

    fn push(&self, metadata: &Metadata<'_>, fields: impl FnOnce(&mut Fields)) {
        let mut line =
            Fields(format!("{} {} {}", metadata.level(), metadata.target(), metadata.name()));
        fields(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Trace {
    fn on_new_span(&self, span: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.push(span.metadata(), |line| span.record(line));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            self.push(span.metadata(), |line| values.record(line));
        }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.push(event.metadata(), |line| event.record(line));
    }
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}
