//! Looks for the tokio runtime of the calling thread.

use std::panic::catch_unwind;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::sleep;

/// Returns the runtime of the calling thread if it has a timer.
///
/// Token requests have deadlines, and their waiters look for signs of life (C3). tokio has no
/// function that tells whether a runtime has a timer: without one, creating a timer panics.
pub(crate) fn current() -> Option<Handle> {
    let runtime = Handle::try_current().ok()?;
    catch_unwind(|| drop(sleep(Duration::ZERO))).ok()?;
    Some(runtime)
}
