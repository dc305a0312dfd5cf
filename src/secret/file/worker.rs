//! Starts threads for work that may hang.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::Handle;

use super::FileErrorKind;
use crate::util::clock;

/// The number of threads in the process. More files than that are not read at the same time.
const MAX_THREADS: usize = 1024;

/// The stack size of a thread. It can be small, because the content of a file is on the heap.
const STACK_SIZE: usize = 128 * 1024;

static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Starts `work` on a new thread.
///
/// Reading a file on a network may hang for any time. In tokio's pool of blocking threads, it would
/// occupy one of a few hundred threads that the whole program shares, and delay the end of the
/// runtime.
pub(super) fn start(work: impl FnOnce() + Send + 'static) -> Result<(), FileErrorKind> {
    // A paused clock advances while the runtime only waits for other threads, unless they are
    // tokio's. So the tests of users see no time pass while a file is read.
    if let Some(runtime) = Handle::try_current().ok().filter(|_| clock::is_paused()) {
        drop(runtime.spawn_blocking(work));
        return Ok(());
    }
    let Some(running) = Running::begin() else {
        return Err(FileErrorKind::Text("is not read while 1,024 other files are being read"));
    };
    let work = move || {
        let _running = running;
        work();
    };
    let builder = thread::Builder::new().name("oauth2-secret".to_owned()).stack_size(STACK_SIZE);
    builder.spawn(work).map(drop).map_err(|error: io::Error| error.into())
}

/// Counts one running thread until it is dropped.
struct Running;

impl Running {
    fn begin() -> Option<Self> {
        let running = Self;
        // The guard takes the count back if it was too high.
        let others = THREADS.fetch_add(1, Ordering::Relaxed);
        (others < MAX_THREADS).then_some(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        THREADS.fetch_sub(1, Ordering::Relaxed);
    }
}
