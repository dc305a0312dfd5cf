//! Allows one look at a file at a time.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;

use super::FileErrorKind;
use super::read::Wanted;
use super::worker;
use crate::util::sync::LockExt;

/// Runs the looks at one file one after the other, and shares their results.
///
/// A caller gets a look that begins after its call, because the file may have changed since an
/// earlier look began. While a look hangs, all callers wait for it, each until its own deadline.
pub(super) struct Queue<T>(Mutex<QueueState<T>>);

struct QueueState<T> {
    is_running: bool,
    /// The look that follows the running one.
    next: Option<Batch<T>>,
}

/// Holds one look and its waiters.
struct Batch<T> {
    wanted: Wanted,
    result: watch::Sender<Option<Arc<T>>>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self(Mutex::new(QueueState { is_running: false, next: None }))
    }
}

impl<T: Send + Sync + 'static> Queue<T> {
    /// Returns the result of a look that begins after this call.
    pub(super) async fn run(
        self: &Arc<Self>,
        wanted: Wanted,
        look: impl Fn(Wanted) -> T + Send + 'static,
    ) -> Result<Arc<T>, FileErrorKind> {
        let (mut result, runner) = self.join(wanted);
        if let Some(runner) = runner {
            worker::start(move || runner.run(look))?;
        }
        let result = result.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
        result.ok_or(FileErrorKind::Text("the thread that read it ended early"))
    }

    /// Joins the next look. Returns a runner if no thread is looking.
    fn join(
        self: &Arc<Self>,
        wanted: Wanted,
    ) -> (watch::Receiver<Option<Arc<T>>>, Option<Runner<T>>) {
        let mut state = self.lock();
        let new = || Batch { wanted, result: watch::Sender::new(None) };
        let batch = state.next.get_or_insert_with(new);
        batch.wanted = batch.wanted.max(wanted);
        let result = batch.result.subscribe();
        let runner =
            (!state.is_running).then(|| Runner { queue: Some(self.clone()), current: None });
        state.is_running = true;
        (result, runner)
    }

    fn take_next(&self) -> Option<Batch<T>> {
        let mut state = self.lock();
        let next = state.next.take();
        state.is_running = next.is_some();
        next
    }
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, QueueState<T>> {
        self.0.lock_unpoisoned()
    }
}

/// Runs the looks of a queue until there is no next one.
struct Runner<T> {
    /// `None` once the queue is idle.
    ///
    /// Another runner may be at work from then on.
    queue: Option<Arc<Queue<T>>>,
    /// Dropped once the queue is idle, so that callers can start another look.
    ///
    /// This is how callers learn of a panic.
    current: Option<Batch<T>>,
}

impl<T: Send + Sync + 'static> Runner<T> {
    fn run(mut self, look: impl Fn(Wanted) -> T) {
        loop {
            self.current = self.queue.as_ref().and_then(|queue| queue.take_next());
            let Some(batch) = &self.current else {
                break;
            };
            // The callers may have given up while an earlier look was running.
            if batch.result.receiver_count() > 0 {
                batch.result.send_replace(Some(Arc::new(look(batch.wanted))));
            }
        }
        self.queue = None;
    }
}

impl<T> Drop for Runner<T> {
    /// Fails the waiters if the thread could not be started or has panicked.
    fn drop(&mut self) {
        let Some(queue) = self.queue.take() else {
            return;
        };
        let mut state = queue.lock();
        state.is_running = false;
        let next = state.next.take();
        drop(state);
        drop(next);
    }
}

#[cfg(all(test, not(races)))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    /// Returns a look that lasts until its caller has dropped `release`.
    fn hanging() -> (mpsc::Sender<()>, impl Fn(Wanted) -> Wanted + Send + 'static) {
        let (sender, receiver) = mpsc::channel();
        let look = move |wanted| {
            let _ = receiver.recv();
            wanted
        };
        (sender, look)
    }

    fn is_pending<F: Future>(waiting: std::pin::Pin<&mut F>) -> bool {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        waiting.poll(&mut cx).is_pending()
    }

    // W9
    #[tokio::test]
    async fn callers_during_a_look_share_the_one_that_follows() {
        let queue = Arc::new(Queue::default());
        let looks = Arc::new(AtomicUsize::new(0));
        let (release, receiver) = mpsc::channel::<()>();
        let counted = looks.clone();
        let look = move |wanted| {
            let _ = receiver.recv();
            (counted.fetch_add(1, Ordering::Relaxed), wanted)
        };
        let mut first = std::pin::pin!(queue.run(Wanted::Stamp, look));
        assert!(is_pending(first.as_mut()));
        // The first look has begun once it is no longer the next one.
        while queue.lock().next.is_some() {
            tokio::task::yield_now().await;
        }
        let not_started = |_: Wanted| -> (usize, Wanted) {
            unreachable!("the thread of the first look runs this batch")
        };
        let mut others = [Wanted::Stamp, Wanted::Content, Wanted::Stamp]
            .map(|wanted| Box::pin(queue.run(wanted, not_started)));
        for other in &mut others {
            assert!(is_pending(other.as_mut()));
        }
        drop(release);
        assert_eq!(*first.await.ok().unwrap(), (0, Wanted::Stamp));
        for other in others {
            assert_eq!(*other.await.ok().unwrap(), (1, Wanted::Content));
        }
        assert_eq!(looks.load(Ordering::Relaxed), 2);
    }

    // W9
    #[tokio::test]
    async fn looks_that_hang_do_not_delay_other_files() {
        let hung: Vec<_> = (0..600)
            .map(|_| {
                let (release, look) = hanging();
                let queue = Arc::new(Queue::default());
                let mut waiting = Box::pin(async move { queue.run(Wanted::Content, look).await });
                assert!(is_pending(waiting.as_mut()));
                (release, waiting)
            })
            .collect();
        let (release, look) = hanging();
        drop(release);
        let healthy = Arc::new(Queue::default());
        assert!(healthy.run(Wanted::Content, look).await.is_ok());
        for (release, waiting) in hung {
            drop(release);
            assert!(waiting.await.is_ok());
        }
    }

    // W9
    #[tokio::test]
    async fn a_look_that_panics_fails_its_callers_and_not_the_next() {
        let queue = Arc::new(Queue::default());
        let panics = |_| -> Wanted { panic!("expected by the test") };
        assert!(queue.run(Wanted::Stamp, panics).await.is_err());
        assert!(queue.run(Wanted::Stamp, |wanted| wanted).await.is_ok());
    }
}
