//! Limits: extreme durations, stopped runtimes, waits longer than a token's lifetime, and memory.

mod bounds;
mod claims;
mod durations;
mod readiness;
mod rejected_before;
mod removal;
mod renewal;
mod runtimes;

use std::time::Duration;

const YEAR: Duration = Duration::from_secs(365 * 86_400);
