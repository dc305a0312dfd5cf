//! A runtime whose end can be played. As with tokio's, its tasks are dropped when it goes away, each by whoever takes the runtime
//! down or by whoever runs it at that moment, and one that is spawned after that is dropped there and then.
//!
//! A real panic in a task fails the execution. For the kind that tokio catches there is [`panic`].

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, Ready, pending, poll_fn, ready};
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use races_std::point;
use shuttle::scheduler::TaskId;

shuttle::thread_local! {
    static CURRENT: RefCell<Option<Handle>> = RefCell::new(None);
    static TASK: RefCell<Option<Arc<Task>>> = RefCell::new(None);
}

/// Taken down when it is dropped.
#[derive(Debug)]
pub struct Runtime(Handle);

#[derive(Clone)]
pub struct Handle(Arc<Mutex<Tasks>>);

#[derive(Default)]
struct Tasks {
    is_down: bool,
    is_frozen: bool,
    is_stopped: bool,
    /// The tasks that a stopped runtime does not poll.
    stopped: Vec<Waker>,
    all: Vec<Arc<Task>>,
    spawners: Vec<TaskId>,
    /// Of those who wait for the end of all.
    idle: Vec<Waker>,
}

/// The locks here are real ones: no point lies within them.
struct Task(Mutex<Stage>);

enum Stage {
    Idle(Pin<Box<dyn Future<Output = ()> + Send>>),
    Running,
    /// To be dropped by whoever runs it.
    Cancelled,
    Done,
}

#[derive(Debug)]
pub struct TryCurrentError(());

/// As if the task panicked here: all that lives in it is dropped, and that is the end of it. Nothing unwinds, as that could not be
/// interleaved with what others do.
pub async fn panic() -> Infallible {
    let task = TASK.with(|task| task.borrow().clone()).expect("only tasks panic");
    *task.0.lock().unwrap() = Stage::Cancelled;
    pending().await
}

impl Runtime {
    #[must_use]
    #[allow(clippy::new_without_default, reason = "as tokio's")]
    pub fn new() -> Self {
        Self(Handle(Arc::default()))
    }

    /// One that nobody drives.
    #[must_use]
    pub fn frozen() -> Self {
        let tasks = Tasks { is_frozen: true, ..Tasks::default() };
        Self(Handle(Arc::new(Mutex::new(tasks))))
    }

    pub fn handle(&self) -> &Handle {
        &self.0
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        point();
        let tasks = {
            let mut tasks = self.0.0.lock().unwrap();
            tasks.is_down = true;
            tasks.all.clone()
        };
        for task in tasks {
            point();
            task.cancel();
        }
        self.0.tell_of_end();
    }
}

impl Handle {
    pub fn try_current() -> Result<Self, TryCurrentError> {
        let current = CURRENT.try_with(|current| current.borrow().clone());
        current.ok().flatten().ok_or(TryCurrentError(()))
    }

    /// Makes it the current one of this thread or task.
    pub fn enter(&self) {
        CURRENT.with(|current| current.replace(Some(self.clone())));
    }

    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        point();
        let task = Arc::new(Task(Mutex::new(Stage::Idle(Box::pin(future)))));
        let is_driven = {
            let mut tasks = self.0.lock().unwrap();
            tasks.spawners.extend(shuttle::current::get_current_task());
            if !tasks.is_down {
                tasks.all.push(task.clone());
            }
            !tasks.is_down && !tasks.is_frozen
        };
        // One that comes too late is dropped here, not under the lock.
        if is_driven {
            let handle = self.clone();
            drop(shuttle::future::spawn(async move {
                handle.enter();
                TASK.with(|current| current.replace(Some(task.clone())));
                poll_fn(|context| match handle.poll_driven(context) {
                    Poll::Ready(()) => task.poll(context),
                    Poll::Pending => Poll::Pending,
                })
                .await;
                handle.tell_of_end();
            }));
        }
    }

    /// Calls `work` at once, because nothing that is tried here blocks.
    pub fn spawn_blocking<R>(&self, work: impl FnOnce() -> R) -> Ready<Result<R, Infallible>> {
        ready(Ok(work()))
    }

    /// Stops polling tasks until [`resume`](Self::resume), as between two calls of `block_on`.
    pub fn stop(&self) {
        point();
        self.0.lock().unwrap().is_stopped = true;
    }

    /// Polls tasks again.
    pub fn resume(&self) {
        point();
        let stopped = {
            let mut tasks = self.0.lock().unwrap();
            tasks.is_stopped = false;
            mem::take(&mut tasks.stopped)
        };
        stopped.into_iter().for_each(Waker::wake);
    }

    fn poll_driven(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut tasks = self.0.lock().unwrap();
        if !tasks.is_stopped {
            return Poll::Ready(());
        }
        tasks.stopped.push(context.waker().clone());
        Poll::Pending
    }

    /// Who spawned tasks, each as often as they did.
    pub fn spawners(&self) -> Vec<TaskId> {
        self.0.lock().unwrap().spawners.clone()
    }

    /// Waits until all tasks have ended.
    pub async fn idle(&self) {
        poll_fn(|context| {
            let mut tasks = self.0.lock().unwrap();
            let is_done = |task: &Arc<Task>| matches!(*task.0.lock().unwrap(), Stage::Done);
            if tasks.all.iter().all(is_done) {
                return Poll::Ready(());
            }
            tasks.idle.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn tell_of_end(&self) {
        let idle = mem::take(&mut self.0.lock().unwrap().idle);
        idle.into_iter().for_each(Waker::wake);
    }
}

impl Task {
    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let stage = mem::replace(&mut *self.0.lock().unwrap(), Stage::Running);
        let Stage::Idle(mut future) = stage else {
            *self.0.lock().unwrap() = Stage::Done;
            return Poll::Ready(());
        };
        if future.as_mut().poll(context).is_pending() {
            let mut stage = self.0.lock().unwrap();
            if let Stage::Running = *stage {
                *stage = Stage::Idle(future);
                return Poll::Pending;
            }
        }
        drop(future);
        *self.0.lock().unwrap() = Stage::Done;
        Poll::Ready(())
    }

    fn cancel(&self) {
        let mut stage = self.0.lock().unwrap();
        let next = match &*stage {
            Stage::Running => Stage::Cancelled,
            Stage::Idle(_) | Stage::Cancelled | Stage::Done => Stage::Done,
        };
        let last = mem::replace(&mut *stage, next);
        drop(stage);
        drop(last);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}
