//! A runtime that scenarios can stall, resume and shut down.
//!
//! As with tokio, the tasks of a runtime are dropped when it shuts down, and a task that is spawned
//! after that is dropped at once. A task is dropped by the thread that shuts the runtime down, or
//! by the thread that polls the task at that moment.
//!
//! Only [`panic`] simulates a panic that the runtime catches. Any other panic fails the execution.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};

use races_std::point;
use shuttle::scheduler::TaskId;

shuttle::thread_local! {
    static CURRENT: RefCell<Option<Handle>> = RefCell::new(None);
}

/// Shuts down when it is dropped.
#[derive(Debug)]
pub struct Runtime(Handle);

#[derive(Clone)]
pub struct Handle(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    is_shut_down: bool,
    is_stalled: bool,
    tasks: Vec<Arc<Task>>,
    /// The callers of `spawn`, once per call.
    spawners: Vec<TaskId>,
    /// Wakes the tasks that were not polled because the runtime is stalled.
    stalled: Vec<Waker>,
    /// Wakes those who wait until all tasks have ended.
    idle: Vec<Waker>,
}

/// A task of a runtime. The locks in this file are real ones, because no point lies within them.
struct Task(Mutex<Stage>);

enum Stage {
    Idle(Pin<Box<dyn Future<Output = ()> + Send>>),
    Running,
    /// The runtime has shut down. The thread that runs the task drops it.
    Cancelled,
    Done,
}

#[derive(Debug)]
pub struct TryCurrentError(());

/// The payload of a simulated panic.
struct SimulatedPanic;

/// Panics in a way that the runtime catches. No panic hook runs.
pub fn panic() -> ! {
    resume_unwind(Box::new(SimulatedPanic))
}

impl Runtime {
    #[must_use]
    #[allow(clippy::new_without_default, reason = "tokio's has none either")]
    pub fn new() -> Self {
        Self(Handle(Arc::default()))
    }

    /// Creates a runtime that does not poll its tasks until it is resumed.
    #[must_use]
    pub fn stalled() -> Self {
        let state = State { is_stalled: true, ..State::default() };
        Self(Handle(Arc::new(Mutex::new(state))))
    }

    pub fn handle(&self) -> &Handle {
        &self.0
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        point();
        let tasks = {
            let mut state = self.0.0.lock().unwrap();
            state.is_shut_down = true;
            state.tasks.clone()
        };
        for task in tasks {
            point();
            task.cancel();
        }
        self.0.wake_idle();
    }
}

impl Handle {
    pub fn try_current() -> Result<Self, TryCurrentError> {
        let current = CURRENT.try_with(|current| current.borrow().clone());
        current.ok().flatten().ok_or(TryCurrentError(()))
    }

    /// Makes this the current runtime of the calling thread or task.
    pub fn enter(&self) {
        CURRENT.with(|current| current.replace(Some(self.clone())));
    }

    /// Stops polling tasks. A task that is being polled goes on to its next await.
    pub fn stall(&self) {
        self.0.lock().unwrap().is_stalled = true;
    }

    /// Polls the tasks again.
    pub fn resume(&self) {
        point();
        let stalled = {
            let mut state = self.0.lock().unwrap();
            state.is_stalled = false;
            mem::take(&mut state.stalled)
        };
        stalled.into_iter().for_each(Waker::wake);
    }

    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        point();
        let task = Arc::new(Task(Mutex::new(Stage::Idle(Box::pin(future)))));
        let is_shut_down = {
            let mut state = self.0.lock().unwrap();
            state.spawners.extend(shuttle::current::get_current_task());
            if !state.is_shut_down {
                state.tasks.push(task.clone());
            }
            state.is_shut_down
        };
        // After a shutdown, the task is dropped here and not under the lock.
        if !is_shut_down {
            let handle = self.clone();
            drop(shuttle::future::spawn(async move {
                handle.enter();
                poll_fn(|cx| {
                    ready!(handle.poll_resumed(cx));
                    task.poll(cx)
                })
                .await;
                handle.wake_idle();
            }));
        }
    }

    /// Runs `work` when the future is polled, because nothing in the scenarios blocks.
    pub async fn spawn_blocking<R>(&self, work: impl FnOnce() -> R) -> Result<R, Infallible> {
        Ok(work())
    }

    /// Returns the threads and tasks that have spawned tasks, once per task.
    pub fn spawners(&self) -> Vec<TaskId> {
        self.0.lock().unwrap().spawners.clone()
    }

    /// Waits until all tasks have ended.
    pub async fn idle(&self) {
        poll_fn(|cx| {
            let mut state = self.0.lock().unwrap();
            let is_done = |task: &Arc<Task>| matches!(*task.0.lock().unwrap(), Stage::Done);
            if state.tasks.iter().all(is_done) {
                return Poll::Ready(());
            }
            state.idle.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Waits while the runtime is stalled.
    fn poll_resumed(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().unwrap();
        if !state.is_stalled {
            return Poll::Ready(());
        }
        state.stalled.push(cx.waker().clone());
        Poll::Pending
    }

    fn wake_idle(&self) {
        let idle = mem::take(&mut self.0.lock().unwrap().idle);
        idle.into_iter().for_each(Waker::wake);
    }
}

impl Task {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let stage = mem::replace(&mut *self.0.lock().unwrap(), Stage::Running);
        let Stage::Idle(mut future) = stage else {
            *self.0.lock().unwrap() = Stage::Done;
            return Poll::Ready(());
        };
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => {
                let mut stage = self.0.lock().unwrap();
                if let Stage::Running = *stage {
                    *stage = Stage::Idle(future);
                    return Poll::Pending;
                }
            }
            Ok(Poll::Ready(())) => {}
            Err(payload) if payload.is::<SimulatedPanic>() => {}
            Err(payload) => resume_unwind(payload),
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

impl PartialEq for Handle {
    /// Returns whether both belong to the same runtime.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}
