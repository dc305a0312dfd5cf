//! Tests of the breaker: each rule, the figures that R8 promises, hostile APIs, random events.

mod figures;
mod hostile;
mod properties;
mod rules;
mod simulation;

use std::time::Duration;

use super::contention::CONTENDED_INTERVAL;
use super::*;

const ORIGIN: u64 = 77;
const TARGET: Target = Target { origin: ORIGIN, resource: 1000 * ORIGIN };

/// Describes the first send with a token that has just arrived.
fn young(issue: IssueId, now: Instant) -> RejectedSend {
    RejectedSend { issue, arrived_at: now, target: TARGET, send: SendNumber::First }
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
