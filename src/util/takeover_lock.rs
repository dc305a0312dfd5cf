//! A lock that is taken over from a task that no runtime polls (C3).

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use tokio::sync::Notify;

use crate::util::liveness::Liveness;
use crate::util::race::run_until;
use crate::util::sync::LockExt;

/// An async lock for one task at a time.
///
/// A task that waits for the lock takes it over at once if the holder is superseded, and otherwise
/// when the holder has shown no sign of life for a second.
#[derive(Default)]
pub(crate) struct TakeoverLock {
    holder: Mutex<LastHolder>,
    released: Notify,
}

#[derive(Default)]
struct LastHolder {
    /// Counts the holders.
    ///
    /// So an earlier holder can tell that it has lost the lock.
    generation: u64,
    /// `None` once the lock has been released.
    liveness: Option<Arc<Liveness>>,
}

/// Holds a [`TakeoverLock`] until it is dropped or taken over.
pub(crate) struct TakeoverGuard<'a> {
    lock: &'a TakeoverLock,
    generation: u64,
    liveness: Arc<Liveness>,
}

impl TakeoverLock {
    /// Waits for the lock. While the caller holds it, it shows beats on `liveness`.
    pub(crate) async fn acquire(&self, liveness: &Arc<Liveness>) -> TakeoverGuard<'_> {
        let mut presumed_dead = None;
        loop {
            // Created before the lock is tried, so that a release in between is not missed.
            let released = self.released.notified();
            let (generation, holder) = match self.try_acquire(liveness, presumed_dead) {
                Ok(guard) => return guard,
                Err(held) => held,
            };
            let silence = run_until(released, holder.silence()).await;
            presumed_dead = silence.map(|()| generation);
        }
    }

    /// Takes the lock if it is free or its holder may be displaced. Otherwise returns its holder.
    fn try_acquire(
        &self,
        liveness: &Arc<Liveness>,
        presumed_dead: Option<u64>,
    ) -> Result<TakeoverGuard<'_>, (u64, Arc<Liveness>)> {
        let mut holder = self.lock();
        let is_takeover = match &holder.liveness {
            None => false,
            Some(held_by) => {
                if !held_by.is_superseded() && presumed_dead != Some(holder.generation) {
                    return Err((holder.generation, held_by.clone()));
                }
                true
            }
        };
        let generation = holder.generation + 1;
        *holder = LastHolder { generation, liveness: Some(liveness.clone()) };
        drop(holder);
        if is_takeover {
            tracing::debug!("a lock was taken over from a task that shows no sign of life");
            // The others have to watch the new holder.
            self.released.notify_waiters();
        }
        Ok(TakeoverGuard { lock: self, generation, liveness: liveness.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, LastHolder> {
        self.holder.lock_unpoisoned()
    }
}

impl TakeoverGuard<'_> {
    /// Returns whether no other task has taken the lock over.
    pub(crate) fn is_held(&self) -> bool {
        self.lock.lock().generation == self.generation
    }

    /// Returns whether the holder's fetch has a successor.
    pub(crate) fn is_superseded(&self) -> bool {
        self.liveness.is_superseded()
    }

    /// Waits for the lock again if it was taken over.
    pub(crate) async fn regain(&mut self) {
        if !self.is_held() {
            *self = self.lock.acquire(&self.liveness.clone()).await;
        }
    }

    /// Polls `work` only while the lock is held.
    ///
    /// Returns `None` once another task has taken over.
    pub(crate) async fn while_held<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(
            |cx| {
                if self.is_held() { work.as_mut().poll(cx).map(Some) } else { Poll::Ready(None) }
            },
        )
        .await
    }
}

impl Drop for TakeoverGuard<'_> {
    fn drop(&mut self) {
        let mut holder = self.lock.lock();
        if holder.generation != self.generation {
            return;
        }
        let released = holder.liveness.take();
        drop(holder);
        drop(released);
        self.lock.released.notify_waiters();
    }
}

#[cfg(all(test, not(races)))]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep, timeout};

    use super::*;

    fn task() -> Arc<Liveness> {
        Arc::new(Liveness::default())
    }

    async fn is_locked(lock: &TakeoverLock) -> bool {
        timeout(Duration::ZERO, lock.acquire(&task())).await.is_err()
    }

    // C3
    #[tokio::test(start_paused = true)]
    async fn a_superseded_holder_is_displaced_at_once() {
        let (lock, fetch) = (TakeoverLock::default(), task());
        let first = lock.acquire(&Arc::new(Liveness::part_of(Some(&fetch)))).await;
        assert!(is_locked(&lock).await);
        fetch.supersede();
        let start = Instant::now();
        let second = lock.acquire(&task()).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(first.is_superseded() && !first.is_held() && second.is_held());

        drop(first);
        assert!(is_locked(&lock).await, "the earlier holder has released the lock of the second");
        drop(second);
        assert!(!is_locked(&lock).await);
    }

    // C3
    #[tokio::test(start_paused = true)]
    async fn a_silent_holder_is_displaced_after_a_second() {
        let (lock, first) = (TakeoverLock::default(), task());
        let mut guard = lock.acquire(&first).await;
        let start = Instant::now();
        let beating = first.during(sleep(Duration::from_secs(60)));
        assert!(run_until(beating, lock.acquire(&task())).await.is_none(), "the holder is alive");
        assert_eq!(start.elapsed(), Duration::from_secs(60));

        let second = lock.acquire(&task()).await;
        let waited = start.elapsed() - Duration::from_secs(60);
        assert!(waited <= Duration::from_millis(1250), "{waited:?}");
        assert!(guard.while_held(sleep(Duration::from_secs(1))).await.is_none());
        drop(second);
        guard.regain().await;
        assert!(guard.is_held());
    }

    // C3
    #[tokio::test(start_paused = true)]
    async fn waiters_watch_the_holder_that_is_there_now() {
        let lock = TakeoverLock::default();
        let first = lock.acquire(&task()).await;
        let waiting = [task(), task()];
        // The second task takes over from the first.
        let waiters = async { tokio::join!(lock.acquire(&waiting[0]), lock.acquire(&waiting[1])) };
        let start = Instant::now();
        let hand_over = async {
            sleep(Duration::from_millis(900)).await;
            drop(first);
        };
        let ((one, other), ()) = tokio::join!(waiters, hand_over);
        assert!(one.is_held() != other.is_held());
        let waited = start.elapsed();
        assert!(waited >= Duration::from_millis(1900), "{waited:?}");
        assert!(waited <= Duration::from_millis(2150), "{waited:?}");
    }
}
