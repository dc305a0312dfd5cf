//! A wall clock that follows the simulated monotonic clock. Scenarios move it apart from that
//! clock.
//!
//! A reading depends on the schedule only, so a schedule can be replayed.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use races_std::point;

/// The reading at the start of an execution, in seconds after the Unix epoch.
const START: Duration = Duration::from_secs(1_800_000_000);

thread_local! {
    /// The reading without the time that has elapsed on the monotonic clock. All tasks of an
    /// execution are on one thread.
    static BASE: Cell<Duration> = const { Cell::new(START) };
}

/// Sets the wall clock to its start. Called at the start of each execution.
pub fn reset() {
    BASE.set(START);
}

/// Returns the time of the wall clock.
#[must_use]
pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + BASE.get() + tokio::time::elapsed()
}

/// Moves the wall clock forward by `duration`. The monotonic clock stays.
pub fn advance(duration: Duration) {
    point();
    BASE.set(BASE.get() + duration);
}

/// Sets the wall clock back by `duration`. The monotonic clock stays.
pub fn set_back(duration: Duration) {
    point();
    BASE.set(BASE.get() - duration);
}
