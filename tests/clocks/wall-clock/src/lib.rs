//! A wall clock that follows tokio's clock, and that tests move apart from it.
//!
//! The clock belongs to one thread, because time can be paused on `current_thread` runtimes only.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// The first reading after a reset, in seconds after the Unix epoch.
const START: Duration = Duration::from_secs(1_800_000_000);

/// One reading of both clocks, to which later readings add.
#[derive(Clone, Copy)]
struct Base {
    mono: Instant,
    wall: SystemTime,
}

thread_local! {
    /// `None` until the first use.
    static BASE: Cell<Option<Base>> = const { Cell::new(None) };
}

/// Returns the time of the wall clock.
#[must_use]
pub fn now() -> SystemTime {
    let base = base();
    base.wall + base.mono.elapsed()
}

/// Moves the wall clock forward by `duration`. Tokio's clock stays.
pub fn advance(duration: Duration) {
    let base = base();
    BASE.set(Some(Base { wall: base.wall + duration, ..base }));
}

/// Sets the wall clock back by `duration`. Tokio's clock stays.
pub fn set_back(duration: Duration) {
    let base = base();
    BASE.set(Some(Base { wall: base.wall - duration, ..base }));
}

/// Sets the wall clock to its start. A test calls this first, because a thread may run several
/// tests.
pub fn reset() {
    BASE.set(Some(start()));
}

fn base() -> Base {
    BASE.get().unwrap_or_else(|| {
        let base = start();
        BASE.set(Some(base));
        base
    })
}

fn start() -> Base {
    Base { mono: Instant::now(), wall: SystemTime::UNIX_EPOCH + START }
}
