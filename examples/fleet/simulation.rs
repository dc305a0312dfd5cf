//! Runs the calls of all processes in simulated time.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, interval, sleep};

use crate::clients::Client;
use crate::day::{Day, Plan};

/// The resolution of the times at which calls start. One timer for each process would be too slow.
const TICK: Duration = Duration::from_millis(100);

/// The time within which all processes start.
const STARTS: Duration = Duration::from_secs(60);

/// Simulates the day with these processes.
pub(crate) async fn run<C: Client>(day: &Arc<Day>, mut processes: Vec<C>) {
    let calls = Calls::of(&day.plan);
    // A timer wheel: the processes that call at each tick, up to the longest pause ahead.
    let mut wheel = vec![Vec::new(); calls.longest.max(ticks(STARTS)) + 1];
    for process in 0..processes.len() {
        wheel[fastrand::usize(..ticks(STARTS))].push(process);
    }
    let mut clock = interval(TICK);
    let mut now = Vec::new();
    for tick in 0..ticks(day.plan.length()) {
        clock.tick().await;
        let slots = wheel.len();
        std::mem::swap(&mut now, &mut wheel[tick % slots]);
        for process in now.drain(..) {
            start(day, processes[process].call());
            wheel[(tick + calls.draw()) % slots].push(process);
        }
    }
    // Lets calls complete that still wait at the end of the day.
    sleep(Duration::from_secs(60)).await;
}

/// The range of the pause between two calls of a process, in ticks. It is the mean plus or minus
/// a third.
struct Calls {
    shortest: usize,
    longest: usize,
}

impl Calls {
    fn of(plan: &Plan) -> Self {
        let shortest = ticks(plan.every * 2 / 3).max(1);
        Self { shortest, longest: ticks(plan.every * 4 / 3).max(shortest) }
    }

    fn draw(&self) -> usize {
        fastrand::usize(self.shortest..=self.longest)
    }
}

fn ticks(time: Duration) -> usize {
    usize::try_from(time.as_millis() / TICK.as_millis()).unwrap_or(usize::MAX)
}

/// Starts a call. Most calls have a token and complete at once. The others continue in a task.
fn start(day: &Arc<Day>, call: impl Future<Output = crate::clients::Answer> + Send + 'static) {
    let mut call = Box::pin(call);
    match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => day.tally.call(answer, Duration::ZERO),
        Poll::Pending => {
            let (day, started) = (day.clone(), Instant::now());
            tokio::spawn(async move {
                let answer = call.await;
                day.tally.call(answer, started.elapsed());
            });
        }
    }
}
