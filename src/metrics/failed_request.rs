use std::borrow::Cow;

use super::error_type::error_type;
use super::{FAILED_REQUESTS, MetricLabel, recorder, with_label};
use crate::error::TokenError;

/// Counts a request that fails with `error`.
pub(crate) fn failed_request(error: &TokenError, label: &MetricLabel) {
    if recorder::IS_ENABLED {
        count(error_type(error), label);
    }
}

fn count(error_type: Cow<'static, str>, label: &MetricLabel) {
    recorder::count(FAILED_REQUESTS, &with_label(&[("error.type", error_type)], label));
}

/// Counts a request that fails while it waits for a token, or is dropped.
pub(crate) struct TokenWait {
    label: MetricLabel,
    is_over: bool,
}

impl TokenWait {
    /// Starts to watch a request that is about to wait.
    pub(crate) fn start(label: MetricLabel) -> Self {
        Self { label, is_over: false }
    }

    /// Ends the wait with its result, which is returned.
    pub(crate) fn end<T>(&mut self, result: Result<T, TokenError>) -> Result<T, TokenError> {
        self.is_over = true;
        result.inspect_err(|error| failed_request(error, &self.label))
    }
}

impl Drop for TokenWait {
    /// Counts a request whose caller does not wait any longer.
    fn drop(&mut self) {
        if recorder::IS_ENABLED && !self.is_over {
            count("dropped".into(), &self.label);
        }
    }
}
