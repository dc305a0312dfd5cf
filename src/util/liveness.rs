//! Shows that a task is alive (C3).
//!
//! Other tasks do not wait for a task that no runtime polls.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::sleep;

use crate::util::clock::Now;

/// The interval of the beats of a task, and of the looks of others.
pub(crate) const BEAT_INTERVAL: Duration = Duration::from_millis(250);
/// A task whose beat is later than this counts as stalled.
const STALLED_AFTER: Duration = Duration::from_secs(1);
/// After so many looks in a row without a beat, a task is presumed dead.
pub(crate) const MAX_SILENT_LOOKS: u32 = 4;

/// Records the signs of life of one task.
///
/// The task calls [`during`](Self::during) for its work. Others wait for [`silence`](Self::silence)
/// beside the result of the task.
#[derive(Debug, Default)]
pub(crate) struct Liveness {
    beats: AtomicU64,
    is_superseded: AtomicBool,
    has_stalled: AtomicBool,
    /// The fetch that this task works for.
    fetch: Option<Arc<Liveness>>,
}

impl Liveness {
    /// Creates the signs of life of a task that works for `fetch`.
    ///
    /// The task beats by itself, because it may go on when the fetch has ended. It is superseded
    /// together with the fetch.
    pub(crate) fn part_of(fetch: Option<&Arc<Self>>) -> Self {
        Self { fetch: fetch.cloned(), ..Self::default() }
    }

    /// Returns the number of beats so far.
    pub(crate) fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// Shows one sign of life.
    pub(crate) fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Records that another task has taken over. The old task must not change anything any more.
    pub(crate) fn supersede(&self) {
        self.is_superseded.store(true, Ordering::Release);
    }

    /// Returns whether another task has taken over.
    pub(crate) fn is_superseded(&self) -> bool {
        self.is_superseded.load(Ordering::Acquire)
            || self.fetch.as_ref().is_some_and(|fetch| fetch.is_superseded())
    }

    /// Returns whether the task stalled while it last worked.
    ///
    /// A stall takes a second or more by either clock. A timeout then says nothing about the other
    /// side.
    pub(crate) fn has_stalled(&self) -> bool {
        self.has_stalled.load(Ordering::Relaxed)
    }

    /// Polls `work` to its end, and shows a beat every 250 ms.
    pub(crate) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut next_beat = pin!(sleep(BEAT_INTERVAL));
        let mut last_beat = Now::read();
        self.has_stalled.store(false, Ordering::Relaxed);
        poll_fn(|cx| {
            let now = Now::read();
            if now.since(last_beat) >= BEAT_INTERVAL + STALLED_AFTER {
                self.has_stalled.store(true, Ordering::Relaxed);
            }
            if let Poll::Ready(output) = work.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
            while next_beat.as_mut().poll(cx).is_ready() {
                self.beat();
                last_beat = now;
                next_beat.set(sleep(BEAT_INTERVAL));
            }
            Poll::Pending
        })
        .await
    }

    /// Waits until the task is superseded, or shows no beat in four looks.
    ///
    /// Counts looks instead of time: if one thread stalls both sides, the observer looks no more
    /// often than the task beats. The timer is the observer's own, so clocks of different runtimes
    /// are never compared.
    pub(crate) async fn silence(&self) {
        let mut silent_looks = 0;
        let mut beats = self.beats();
        while silent_looks < MAX_SILENT_LOOKS && !self.is_superseded() {
            sleep(BEAT_INTERVAL).await;
            let seen = self.beats();
            silent_looks = if seen == beats { silent_looks + 1 } else { 0 };
            beats = seen;
        }
    }
}
