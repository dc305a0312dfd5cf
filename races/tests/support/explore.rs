//! Which schedules a scenario is played under.

use std::env;
use std::sync::Arc;

use shuttle::scheduler::{
    DfsScheduler, PctScheduler, RandomScheduler, ReplayScheduler, Schedule, Scheduler, Task,
    TaskId, UncontrolledNondeterminismCheckScheduler,
};
use shuttle::{Config, MaxSteps, Runner};

/// The task that moves the clock on. The scenario's own thread comes before it.
const CLOCK: usize = 1;

/// More steps than any of them takes that gets anywhere.
const MOST_STEPS: usize = 100_000;

/// Plays `scenario` under as many schedules as `RACES_SCHEDULES` says: half of them drawn at random, half with a few
/// changes of the order of priorities only (PCT), which finds what takes one bad moment. `RACES_SEED` draws
/// others. When one fails, it is printed; `RACES_REPLAY` plays it again.
pub fn explore(scenario: impl Fn() + Send + Sync + 'static) {
    let scenario = prepared(scenario);
    if let Ok(schedule) = env::var("RACES_REPLAY") {
        run(ReplayScheduler::new_from_encoded(&schedule), scenario);
        return;
    }
    let (seed, schedules) = (number("RACES_SEED", 1), number("RACES_SCHEDULES", 2000) as usize);
    let half = schedules.div_ceil(2);
    run(RandomScheduler::new_from_seed(seed, half), scenario.clone());
    run(PctScheduler::new_from_seed(seed, 3, half), scenario);
}

/// Plays it under all schedules that there are; it has to be a small one.
pub fn explore_all(scenario: impl Fn() + Send + Sync + 'static) {
    let most = 200_000;
    let played = run(DfsScheduler::new(Some(most), false), prepared(scenario));
    assert!(played < most, "there are more schedules than that");
    println!("{played} schedules");
}

/// Plays each of some schedules twice, and looks whether it takes the same course.
pub fn explore_twice(scenario: impl Fn() + Send + Sync + 'static) {
    let drawn = RandomScheduler::new_from_seed(1, 100);
    run(UncontrolledNondeterminismCheckScheduler::new(drawn), prepared(scenario));
}

fn number(variable: &str, default: u64) -> u64 {
    match env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
        Err(_) => default,
    }
}

type Scenario = Arc<dyn Fn() + Send + Sync>;

fn prepared(scenario: impl Fn() + Send + Sync + 'static) -> Scenario {
    Arc::new(move || {
        // What is drawn is the same each time, so that a schedule can be played again.
        fastrand::seed(1);
        tokio::time::start();
        manual_wall_clock::reset();
        scenario();
    })
}

fn run(scheduler: impl Scheduler + 'static, scenario: Scenario) -> usize {
    let mut config = Config::new();
    config.stack_size = 512 * 1024;
    config.max_steps = MaxSteps::FailAfter(MOST_STEPS);
    config.silence_warnings = true;
    Runner::new(ClockLast(scheduler), config).run(move || scenario())
}

/// Time passes when nothing else can happen.
struct ClockLast<S>(S);

impl<S: Scheduler> Scheduler for ClockLast<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.0.new_execution()
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let clock = TaskId::from(CLOCK);
        let others: Vec<&Task> =
            runnable.iter().copied().filter(|task| task.id() != clock).collect();
        let choice = if others.is_empty() { runnable } else { &others };
        self.0.next_task(choice, current, is_yielding)
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
}
