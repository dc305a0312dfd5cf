use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use super::recorder;
use crate::credentials::Credentials;
use crate::util::sync::LockExt;

/// The value for credentials without a label.
const UNLABELED: &str = "none";
/// The value for labels beyond the limit.
const OTHER: &str = "other";

/// The label of credentials in metrics. `None` if metrics have no such label.
pub(crate) type MetricLabel = Option<Cow<'static, str>>;

/// The labels of credentials that metrics show. Each is a time series, so their number is limited.
#[derive(Debug, Default)]
pub(crate) struct MetricLabels {
    limit: usize,
    /// The first labels.
    ///
    /// No label is ever removed, because a gauge must go up and come down under the same label.
    shown: Mutex<HashSet<Arc<str>>>,
}

impl MetricLabels {
    /// Shows at most `limit` different labels. With a limit of 0, metrics have no such label.
    pub(crate) fn limited_to(limit: usize) -> Self {
        Self { limit, shown: Mutex::default() }
    }

    /// Returns the label of `credentials` in metrics.
    pub(crate) fn of(&self, credentials: &Credentials) -> MetricLabel {
        if self.limit == 0 || !recorder::IS_ENABLED {
            return None;
        }
        let Some(label) = credentials.shared_label() else {
            return Some(UNLABELED.into());
        };
        let mut shown = self.shown.lock_unpoisoned();
        let is_shown = shown.contains(&label) || {
            let has_room = shown.len() < self.limit;
            has_room && shown.insert(label.clone())
        };
        Some(if is_shown { label.to_string().into() } else { OTHER.into() })
    }
}
