//! A day in the life of a fleet: when each instance calls, and what becomes of it.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, interval, sleep};

use crate::clients::Client;
use crate::day::{Day, Plan};

/// Calls begin on a grid of this width: ten thousand timers would be most of the work.
const TICK: Duration = Duration::from_millis(100);

/// A deployment starts all instances within this time.
const DEPLOYMENT: Duration = Duration::from_secs(60);

/// Lives through the whole day with these instances.
pub(crate) async fn live<C: Client>(day: &Arc<Day>, mut instances: Vec<C>) {
    let calls = Calls::of(&day.plan);
    // Who calls at which tick, as far ahead as anybody plans.
    let mut wheel = vec![Vec::new(); calls.longest.max(ticks(DEPLOYMENT)) + 1];
    for instance in 0..instances.len() {
        wheel[fastrand::usize(..ticks(DEPLOYMENT))].push(instance);
    }
    let mut clock = interval(TICK);
    let mut now = Vec::new();
    for tick in 0..ticks(day.plan.length()) {
        clock.tick().await;
        let slots = wheel.len();
        std::mem::swap(&mut now, &mut wheel[tick % slots]);
        for instance in now.drain(..) {
            begin(day, instances[instance].call());
            wheel[(tick + calls.draw()) % slots].push(instance);
        }
    }
    // Calls that wait at the end of the day come to their end too.
    sleep(Duration::from_secs(60)).await;
}

/// The pause between two calls of an instance, in ticks: up to a third more or less than the mean.
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

/// Most calls find a token and are done at once; the others go on in a task.
fn begin(day: &Arc<Day>, call: impl Future<Output = crate::clients::Answer> + Send + 'static) {
    let mut call = Box::pin(call);
    match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => day.tally.call(answer, Duration::ZERO),
        Poll::Pending => {
            let (day, begun) = (day.clone(), Instant::now());
            tokio::spawn(async move {
                let answer = call.await;
                day.tally.call(answer, begun.elapsed());
            });
        }
    }
}
