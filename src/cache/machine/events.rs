//! Describes the side effects of a transition, for the time after unlocking.
//!
//! The slot carries them out after it has unlocked the machine.

use std::time::Duration;

use super::super::breaker::BreakerEvent;
use super::super::issued::IssueId;
use super::complete::Loss;
use super::{FailedDuring, Failure};
use crate::credentials::Credentials;
use crate::error::TokenError;
use crate::metrics::{self, MetricLabel, MetricLabels};
use crate::util::printable::Printable;

/// The side effects of one transition.
#[derive(Debug, Default)]
#[must_use = "events are emitted after the lock is released"]
pub(in crate::cache) struct Events {
    pub(super) event: Option<Event>,
    pub(super) breaker: Option<BreakerEvent>,
    /// Set at the first success after failures (C9).
    pub(super) is_recovery: bool,
    /// Set once, when several processes seem to revoke each other's tokens (R8).
    pub(super) is_contention_new: bool,
    /// The failure that is no longer remembered. It is dropped after unlocking, because its error
    /// may contain a caller's value whose `Drop` calls back into the cache.
    pub(super) displaced_failure: Option<Box<Failure>>,
    /// The error of a fetch that is retried, which is dropped after unlocking too.
    pub(super) retried_error: Option<TokenError>,
    /// The change of the gauge of remembered failures.
    pub(super) failing_change: i8,
    /// Tells the slot to wake the keep-warm task, which then computes its next look again.
    pub(super) wakes_keep_warm: bool,
}

/// New suspicions that follow from a rejection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Suspicions {
    /// The time for which the breaker opened. `None` if the breaker did not open.
    pub(crate) opened: Option<Duration>,
    /// Several processes seem to revoke each other's tokens.
    pub(crate) is_contention_new: bool,
}

/// A change that is logged and measured.
#[derive(Debug)]
pub(super) enum Event {
    Arrived {
        issue: IssueId,
        lifetime: Option<Duration>,
    },
    /// A renewal brought a token that ends no later than the current one (C6).
    NoLongerLifetime {
        backoff: Duration,
    },
    Failed {
        error: TokenError,
        backoff: Duration,
        failed_during: FailedDuring,
    },
    Rejected {
        issue: IssueId,
    },
    ClaimsRefused,
    Lost {
        loss: Loss,
    },
    PresumedDead,
}

impl Events {
    pub(super) fn waking_keep_warm(event: Event) -> Self {
        Self { event: Some(event), wakes_keep_warm: true, ..Self::default() }
    }

    pub(in crate::cache) fn from_breaker(breaker: Option<BreakerEvent>) -> Self {
        Self { breaker, ..Self::default() }
    }

    /// Returns the suspicions, which the layer logs because it knows the origin.
    pub(in crate::cache) fn suspicions(&self) -> Suspicions {
        let opened = self.breaker.and_then(|breaker| match breaker {
            BreakerEvent::Opened { window } | BreakerEvent::Reopened { window } => Some(window),
            BreakerEvent::Reset => None,
        });
        Suspicions { opened, is_contention_new: self.is_contention_new }
    }

    pub(in crate::cache) fn wakes_keep_warm(&self) -> bool {
        self.wakes_keep_warm
    }

    /// Returns whether a fetch has failed.
    pub(in crate::cache) fn has_failure(&self) -> bool {
        matches!(self.event, Some(Event::Failed { .. }))
    }

    /// Logs and measures the events, and drops the errors. Call it after unlocking: a subscriber, a
    /// recorder or the `Drop` of an error may call back into the cache.
    pub(in crate::cache) fn emit(self, credentials: &Credentials, metric_labels: &MetricLabels) {
        let is_measured =
            self.failing_change != 0 || self.breaker.is_some() || self.event.is_some();
        let metric_label = &if is_measured { metric_labels.of(credentials) } else { None };
        if self.failing_change != 0 {
            metrics::failing_credentials(self.failing_change, metric_label);
        }
        if let Some(breaker) = self.breaker {
            emit_breaker(breaker, metric_label);
        }
        let label = credentials.label_field();
        match self.event {
            None => {}
            Some(Event::Arrived { issue, lifetime }) => {
                tracing::debug!(label, number = issue, ?lifetime, "token arrived");
            }
            Some(Event::NoLongerLifetime { backoff }) => {
                metrics::backoff(backoff, "no_gain", metric_label);
                tracing::debug!(label, wait = ?backoff, "renewal did not extend the lifetime");
            }
            Some(Event::Failed { error, backoff, failed_during }) => {
                let class = if error.is_transient() { "transient" } else { "permanent" };
                metrics::backoff(backoff, class, metric_label);
                match failed_during {
                    FailedDuring::Renewal => {
                        tracing::warn!(
                            label,
                            error = %Printable(error),
                            retry_in = ?backoff,
                            "token renewal failed"
                        );
                    }
                    FailedDuring::Miss => {
                        tracing::warn!(
                            label,
                            error = %Printable(error),
                            retry_in = ?backoff,
                            "token request failed"
                        );
                    }
                }
            }
            Some(Event::Rejected { issue }) => {
                tracing::info!(label, number = issue, "token was rejected");
            }
            Some(Event::ClaimsRefused) => {
                tracing::warn!(label, "token endpoint refused the claims that an API requires");
            }
            Some(Event::Lost { loss: Loss::RuntimeEnded }) => {
                tracing::debug!(label, "token request was lost because its runtime ended");
            }
            Some(Event::Lost { loss: Loss::Panicked }) => {
                tracing::warn!(label, "token request panicked");
            }
            Some(Event::PresumedDead) => {
                tracing::warn!(label, "token request shows no sign of life; another one may start");
            }
        }
        if self.is_recovery {
            tracing::info!(label, "tokens arrive again");
        }
        drop((self.displaced_failure, self.retried_error));
    }
}

fn emit_breaker(event: BreakerEvent, metric_label: &MetricLabel) {
    let gauge_change = event.gauge_change();
    if gauge_change != 0 {
        metrics::broken_apis(gauge_change.into(), metric_label);
    }
}
