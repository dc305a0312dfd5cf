//! A clock that scenarios advance. Like tokio's paused clock, it also advances to the next timer
//! when no task can run.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::{Add, AddAssign, Sub};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use races_std::point;

/// The reading at the start of an execution. Large enough to subtract any duration from it.
const START: Duration = Duration::from_secs(1_000_000_000);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

struct Clock {
    now: Duration,
    timers: BTreeMap<(Instant, u64), Waker>,
    /// Wakes the task that advances the clock.
    driver: Option<Waker>,
    last_timer: u64,
}

// All tasks of an execution run on one thread. No point lies within a borrow.
thread_local! {
    static CLOCK: RefCell<Clock> = const {
        RefCell::new(Clock { now: START, timers: BTreeMap::new(), driver: None, last_timer: 0 })
    };
}

/// Resets the clock when an execution begins, and starts the task that advances it.
///
/// That task must be the first one, and the scheduler must choose it only if no other can run.
pub fn start() {
    let timers = CLOCK.with_borrow_mut(|clock| {
        clock.now = START;
        clock.driver = None;
        std::mem::take(&mut clock.timers)
    });
    drop(timers);
    drop(shuttle::future::spawn(poll_fn(|cx| {
        let due = CLOCK.with_borrow_mut(|clock| {
            clock.driver = Some(cx.waker().clone());
            if let Some(((deadline, _), _)) = clock.timers.first_key_value() {
                clock.now = clock.now.max(deadline.0);
            }
            clock.due()
        });
        if !due.is_empty() {
            cx.waker().wake_by_ref();
        }
        due.into_iter().for_each(Waker::wake);
        Poll::<()>::Pending
    })));
}

/// Returns how far the clock has advanced in this execution.
pub fn elapsed() -> Duration {
    CLOCK.with_borrow(|clock| clock.now - START)
}

/// Advances the clock.
pub fn advance(duration: Duration) {
    point();
    let due = CLOCK.with_borrow_mut(|clock| {
        clock.now += duration;
        clock.due()
    });
    due.into_iter().for_each(Waker::wake);
}

impl Clock {
    fn due(&mut self) -> Vec<Waker> {
        let later = self.timers.split_off(&(Instant(self.now), u64::MAX));
        std::mem::replace(&mut self.timers, later).into_values().collect()
    }
}

impl Instant {
    pub fn now() -> Self {
        CLOCK.with_borrow(|clock| Self(clock.now))
    }

    pub fn duration_since(&self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }

    pub fn saturating_duration_since(&self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    pub fn elapsed(&self) -> Duration {
        Self::now().saturating_duration_since(*self)
    }

    pub fn checked_add(&self, duration: Duration) -> Option<Self> {
        self.0.checked_add(duration).map(Self)
    }

    pub fn checked_sub(&self, duration: Duration) -> Option<Self> {
        self.0.checked_sub(duration).map(Self)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0 + duration)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        self.0 += duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0 - duration)
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

#[derive(Debug)]
pub struct Sleep {
    deadline: Instant,
    /// The number of its timer.
    number: Option<u64>,
}

pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(Instant::now() + duration)
}

pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, number: None }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        CLOCK.with_borrow_mut(|clock| {
            if Instant(clock.now) >= deadline {
                return Poll::Ready(());
            }
            let number = *self.number.get_or_insert_with(|| {
                clock.last_timer += 1;
                clock.last_timer
            });
            clock.timers.insert((deadline, number), cx.waker().clone());
            if let Some(driver) = &clock.driver {
                driver.wake_by_ref();
            }
            Poll::Pending
        })
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let Some(number) = self.number else {
            return;
        };
        let timer = CLOCK
            .try_with(|clock| clock.try_borrow_mut().ok()?.timers.remove(&(self.deadline, number)));
        drop(timer);
    }
}

pub async fn timeout<F: Future>(
    duration: Duration,
    future: F,
) -> Result<F::Output, error::Elapsed> {
    timeout_at(Instant::now() + duration, future).await
}

pub async fn timeout_at<F: Future>(
    deadline: Instant,
    future: F,
) -> Result<F::Output, error::Elapsed> {
    let (mut future, mut sleep) = (pin!(future), pin!(sleep_until(deadline)));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| Err(error::Elapsed(()))),
    })
    .await
}

pub mod error {
    use super::fmt;

    #[derive(Debug)]
    pub struct Elapsed(pub(super) ());

    impl fmt::Display for Elapsed {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("deadline has elapsed")
        }
    }

    impl std::error::Error for Elapsed {}
}
