//! Lowers the gauges of slots without traffic: open breakers (R8), and failures (C9).

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::breaker::RESET_AFTER;
use super::fetcher::Fetcher;
use super::slot::Slot;
use crate::util::sync::LockExt;
use crate::util::{race, runtime};

/// A sweep that is later than this counts as lost.
///
/// Its runtime may have ended, for example.
const SWEEP_IS_LOST_AFTER: Duration = Duration::from_secs(5);

/// The longest time between two sweeps. A breaker that opens after a sweep resets no earlier, so
/// the next sweep is in time for it, however long the back-offs of other slots are.
const MAX_PAUSE: Duration = RESET_AFTER;

/// The shortest time between two sweeps, because many breakers may reset in turn.
const MIN_PAUSE: Duration = Duration::from_millis(100);

/// Looks at slots whose breaker is open or whose last fetch failed. A cache has one sweeper.
#[derive(Debug, Default)]
pub(super) struct Sweeper {
    watched: Mutex<Watched>,
    /// Notifies the task when the fetcher is dropped.
    ended: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Watched {
    slots: Vec<Weak<Slot>>,
    /// When the running task sweeps next. `None` if there is no task.
    next_sweep: Option<Instant>,
}

impl Sweeper {
    /// Watches a slot.
    fn watch(&self, slot: &Arc<Slot>) {
        if slot.is_swept.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut watched = self.lock();
        if watched.slots.len() == watched.slots.capacity() {
            // Without a task that sweeps, nothing else removes the slots that were evicted.
            watched.slots.retain(|slot| slot.strong_count() > 0);
        }
        watched.slots.push(Arc::downgrade(slot));
    }

    /// Returns when a new task must sweep first, unless a task is running.
    fn start_task(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut watched = self.lock();
        let is_running = |at: Instant| now < at + SWEEP_IS_LOST_AFTER;
        if watched.next_sweep.is_some_and(is_running) {
            return None;
        }
        let first_sweep = now + MAX_PAUSE;
        watched.next_sweep = Some(first_sweep);
        Some(first_sweep)
    }

    /// Returns whether a task that was to sweep at `at` still has to.
    ///
    /// Another task takes over if this one is late.
    fn is_due(&self, at: Instant) -> bool {
        self.lock().next_sweep == Some(at)
    }

    /// Sweeps all watched slots. Returns when to do so again, or `None` if no slot needs it.
    fn sweep(&self) -> Option<Instant> {
        let watched = std::mem::take(&mut self.lock().slots);
        let mut still_watched = Vec::new();
        let mut next_sweep: Option<Instant> = None;
        for weak in watched {
            let Some(slot) = weak.upgrade() else {
                continue;
            };
            // The flag is cleared before the sweep, so that a later rejection or failure sets it
            // again.
            slot.is_swept.store(false, Ordering::Release);
            if let Some(at) = slot.sweep() {
                next_sweep = Some(next_sweep.map_or(at, |next| next.min(at)));
                if !slot.is_swept.swap(true, Ordering::AcqRel) {
                    still_watched.push(weak);
                }
            }
        }
        let mut watched = self.lock();
        watched.slots.append(&mut still_watched);
        // Slots that came while this sweep ran are looked at in time too.
        if next_sweep.is_none() && !watched.slots.is_empty() {
            next_sweep = Some(Instant::now() + MAX_PAUSE);
        }
        let now = Instant::now();
        watched.next_sweep = next_sweep.map(|next| next.clamp(now + MIN_PAUSE, now + MAX_PAUSE));
        watched.next_sweep
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock_unpoisoned()
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.ended.notify_one();
    }
}

impl Fetcher {
    /// Sweeps a slot in time, also without traffic.
    ///
    /// Without a runtime, no task is started. The breaker then resets with the next request, and
    /// the next failure of any slot starts the task.
    pub(super) fn watch(self: &Arc<Self>, slot: &Arc<Slot>) {
        self.sweeper.watch(slot);
        let Some(runtime) = runtime::current() else {
            return;
        };
        if let Some(at) = self.sweeper.start_task() {
            let ended = self.sweeper.ended.clone();
            let sweeping = run(Arc::downgrade(self), at);
            runtime.spawn(async move {
                race::run_until(ended.notified(), sweeping).await;
            });
        }
    }
}

/// Sweeps until no slot needs it or the fetcher is dropped.
async fn run(fetcher: Weak<Fetcher>, first_sweep: Instant) {
    let mut next_sweep = Some(first_sweep);
    while let Some(at) = next_sweep {
        sleep_until(at).await;
        let Some(fetcher) = fetcher.upgrade() else {
            return;
        };
        if !fetcher.sweeper.is_due(at) {
            return;
        }
        next_sweep = fetcher.sweeper.sweep();
    }
}
