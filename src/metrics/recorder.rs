//! Calls the `metrics` facade.
//!
//! Without the feature `metrics`, the calls compile to nothing.

use std::borrow::Cow;
use std::time::Duration;

/// Says whether metrics are recorded. Code that prepares a recording checks it first.
pub(super) const IS_ENABLED: bool = cfg!(feature = "metrics");

/// A label's name and value.
pub(super) type Label = (&'static str, Cow<'static, str>);

/// Records a duration in seconds.
pub(super) fn histogram(name: &'static str, labels: &[Label], value: Duration) {
    #[cfg(feature = "metrics")]
    ::metrics::histogram!(name, to_labels(labels)).record(value);
    #[cfg(not(feature = "metrics"))]
    let _ = (name, labels, value);
}

/// Adds one to a counter.
pub(super) fn count(name: &'static str, labels: &[Label]) {
    #[cfg(feature = "metrics")]
    ::metrics::counter!(name, to_labels(labels)).increment(1);
    #[cfg(not(feature = "metrics"))]
    let _ = (name, labels);
}

/// Changes a gauge by a difference.
pub(super) fn change_gauge(name: &'static str, labels: &[Label], difference: i32) {
    #[cfg(feature = "metrics")]
    ::metrics::gauge!(name, to_labels(labels)).increment(f64::from(difference));
    #[cfg(not(feature = "metrics"))]
    let _ = (name, labels, difference);
}

/// Describes a histogram of durations.
pub(super) fn describe_histogram(name: &'static str, description: &'static str) {
    #[cfg(feature = "metrics")]
    ::metrics::describe_histogram!(name, ::metrics::Unit::Seconds, description);
    #[cfg(not(feature = "metrics"))]
    let _ = (name, description);
}

/// Describes a counter.
pub(super) fn describe_counter(name: &'static str, description: &'static str) {
    #[cfg(feature = "metrics")]
    ::metrics::describe_counter!(name, ::metrics::Unit::Count, description);
    #[cfg(not(feature = "metrics"))]
    let _ = (name, description);
}

/// Describes a gauge.
pub(super) fn describe_gauge(name: &'static str, description: &'static str) {
    #[cfg(feature = "metrics")]
    ::metrics::describe_gauge!(name, ::metrics::Unit::Count, description);
    #[cfg(not(feature = "metrics"))]
    let _ = (name, description);
}

#[cfg(feature = "metrics")]
fn to_labels(labels: &[Label]) -> Vec<::metrics::Label> {
    let to_label = |(name, value): &Label| match value {
        Cow::Borrowed(value) => ::metrics::Label::from_static_parts(name, value),
        Cow::Owned(value) => ::metrics::Label::new(*name, value.clone()),
    };
    labels.iter().map(to_label).collect()
}
