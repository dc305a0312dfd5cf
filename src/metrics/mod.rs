//! Records metrics of fetches, token requests, API requests and stores.
//!
//! A cache hit records nothing.
//!
//! Labels have a bounded number of values. No function here is called under a lock, because a
//! recorder may call back into a cache.

mod error_type;
mod failed_request;
mod fetch;
mod labels;
mod recorder;
mod replay;

use std::time::Duration;

use tokio::time::Instant;

pub(crate) use self::failed_request::{TokenWait, failed_request};
pub(crate) use self::fetch::{FetchTimer, Measured};
pub(crate) use self::labels::{MetricLabel, MetricLabels};
use self::recorder::Label;
pub(crate) use self::replay::{ReplayOutcome, not_replayed};

const FETCH: &str = "tower_oauth2.token.fetch.duration";
const REQUEST: &str = "tower_oauth2.token.request.duration";
const REMAINING: &str = "tower_oauth2.token.remaining_life";
const BACKOFF: &str = "tower_oauth2.backoff.duration";
const FAILING: &str = "tower_oauth2.failing_credentials";
const REPLAYS: &str = "tower_oauth2.replays";
const WITHOUT_TOKEN: &str = "tower_oauth2.requests_without_token";
const FAILED_REQUESTS: &str = "tower_oauth2.failed_requests";
const BROKEN: &str = "tower_oauth2.broken_apis";
const STORE: &str = "tower_oauth2.store.operation.duration";

/// Describes the meaning and the unit of each metric to the recorder.
pub(crate) fn describe() {
    use recorder::{describe_counter, describe_gauge, describe_histogram};

    describe_histogram(
        FETCH,
        "How long a cache's source took for a token, with stores and retries",
    );
    describe_histogram(REQUEST, "How long the token endpoint took for a token");
    describe_histogram(
        REMAINING,
        "The remaining lifetime of a token when the fetch of the next one ended",
    );
    describe_histogram(BACKOFF, "How long a source is not called after a failure");
    describe_histogram(STORE, "How long a token store took");
    describe_gauge(FAILING, "Credentials whose last fetch failed, until 60 s after their back-off");
    describe_gauge(BROKEN, "Credentials whose new tokens an API rejects");
    describe_counter(REPLAYS, "Requests whose token was rejected");
    describe_counter(
        WITHOUT_TOKEN,
        "Requests that were sent without a token, and did not ask for that",
    );
    describe_counter(
        FAILED_REQUESTS,
        "Requests that failed with a token error, or were dropped while they waited for a token",
    );
}

/// Records the back-off after a failure of `class`.
pub(crate) fn backoff(window: Duration, class: &'static str, label: &MetricLabel) {
    if !window.is_zero() {
        recorder::histogram(BACKOFF, &with_label(&[("class", class.into())], label), window);
    }
}

/// Changes the number of credentials whose last fetch failed, until 60 s after their back-off.
pub(crate) fn failing_credentials(difference: i8, label: &MetricLabel) {
    recorder::change_gauge(FAILING, &with_label(&[], label), difference.into());
}

/// Changes the number of credentials whose new tokens an API rejects.
pub(crate) fn broken_apis(difference: i32, label: &MetricLabel) {
    recorder::change_gauge(BROKEN, &with_label(&[], label), difference);
}

/// Counts a request that gets no token and did not ask for that.
pub(crate) fn request_without_token(reason: &'static str) {
    recorder::count(WITHOUT_TOKEN, &[("reason", reason.into())]);
}

/// Measures one operation of a store.
pub(crate) struct StoreTimer {
    started_at: Instant,
}

impl StoreTimer {
    /// Starts the measurement.
    pub(crate) fn start() -> Self {
        Self { started_at: Instant::now() }
    }

    /// Records the operation. `error_type` is set if it failed.
    pub(crate) fn finish(self, operation: &'static str, error_type: Option<&'static str>) {
        let outcome = if error_type.is_none() { "success" } else { "error" };
        let mut labels: [Label; 3] =
            [("operation", operation.into()), ("outcome", outcome.into()), NO_ERROR];
        let labels = with_error_type(&mut labels, error_type.map(Into::into));
        recorder::histogram(STORE, labels, self.started_at.elapsed());
    }
}

/// The placeholder for `error.type` in the labels of a success.
const NO_ERROR: Label = ("error.type", std::borrow::Cow::Borrowed(""));

/// Adds the label of credentials, if metrics have one.
fn with_label(labels: &[Label], label: &MetricLabel) -> Vec<Label> {
    let label = label.iter().map(|label| ("credentials", label.clone()));
    labels.iter().cloned().chain(label).collect()
}

/// Fills in `error.type`, the last label, or leaves it out after a success.
fn with_error_type<'a>(
    labels: &'a mut [Label; 3],
    error_type: Option<std::borrow::Cow<'static, str>>,
) -> &'a [Label] {
    match error_type {
        Some(error_type) => {
            labels[2].1 = error_type;
            &labels[..]
        }
        None => &labels[..2],
    }
}
