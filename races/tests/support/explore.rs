//! Runs a scenario under many schedules.

use std::cell::Cell;
use std::env;
use std::sync::Arc;

use shuttle::scheduler::{
    DfsScheduler, PctScheduler, RandomScheduler, ReplayScheduler, Schedule, Scheduler, Task,
    TaskId, UncontrolledNondeterminismCheckScheduler,
};
use shuttle::{Config, MaxSteps, Runner};

use super::gauges::{self, GaugeRecorder};

/// The task that advances the clock. Only the scenario's own thread is started before it.
const CLOCK: usize = 1;

/// More steps than any scenario takes that does not loop.
const MAX_STEPS: usize = 100_000;

/// The largest number of schedules of a scenario that runs under all of them.
const MAX_SCHEDULES: usize = 200_000;

thread_local! {
    /// Set while the order of the threads is explored.
    static IS_EXPLORING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `scenario` under as many schedules as `RACES_SCHEDULES` says.
///
/// Half of them are drawn at random. The other half change the priorities of the threads only a few
/// times (PCT), which finds errors that depend on one unlucky moment. `RACES_SEED` draws other
/// schedules. A schedule that fails is printed, and `RACES_REPLAY` replays it.
pub fn explore(scenario: impl Fn() + Send + Sync + 'static) {
    let scenario = prepare(scenario);
    if let Ok(schedule) = env::var("RACES_REPLAY") {
        run(ReplayScheduler::new_from_encoded(&schedule), scenario);
        return;
    }
    let (seed, schedules) = (number("RACES_SEED", 1), number("RACES_SCHEDULES", 2000) as usize);
    let half = schedules.div_ceil(2);
    run(RandomScheduler::new_from_seed(seed, half), scenario.clone());
    run(PctScheduler::new_from_seed(seed, 3, half), scenario);
}

/// Runs `scenario` under all schedules of the part that follows [`explore_from_here`].
pub fn explore_all(scenario: impl Fn() + Send + Sync + 'static) {
    let scenario = prepare(scenario);
    if let Ok(schedule) = env::var("RACES_REPLAY") {
        run(ReplayScheduler::new_from_encoded(&schedule), scenario);
        return;
    }
    let all = AfterSetup(DfsScheduler::new(Some(MAX_SCHEDULES), false));
    let schedules = run(all, scenario);
    assert!(schedules < MAX_SCHEDULES, "there are more schedules");
    println!("{schedules} schedules");
}

/// Ends the setup of a scenario that runs under all schedules.
pub fn explore_from_here() {
    IS_EXPLORING.set(true);
}

/// Runs `scenario` twice under each schedule, and asserts that both runs are the same.
pub fn explore_twice(scenario: impl Fn() + Send + Sync + 'static) {
    let random = RandomScheduler::new_from_seed(1, 100);
    run(UncontrolledNondeterminismCheckScheduler::new(random), prepare(scenario));
}

fn number(variable: &str, default: u64) -> u64 {
    match env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")),
        Err(_) => default,
    }
}

type Scenario = Arc<dyn Fn() + Send + Sync>;

/// Lets each execution of the scenario begin with the same random numbers, clocks and gauges.
fn prepare(scenario: impl Fn() + Send + Sync + 'static) -> Scenario {
    Arc::new(move || {
        fastrand::seed(1);
        tokio::time::start();
        manual_wall_clock::reset();
        gauges::reset();
        IS_EXPLORING.set(false);
        scenario();
    })
}

fn run(scheduler: impl Scheduler + 'static, scenario: Scenario) -> usize {
    let mut config = Config::new();
    config.stack_size = 512 * 1024;
    config.max_steps = MaxSteps::FailAfter(MAX_STEPS);
    config.silence_warnings = true;
    let _recorder = metrics::set_default_local_recorder(&GaugeRecorder);
    Runner::new(ClockLast(scheduler), config).run(move || scenario())
}

/// Lets time pass only if nothing else can happen.
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

/// Runs the setup of a scenario without switching threads until each one blocks.
struct AfterSetup<S>(S);

impl<S: Scheduler> Scheduler for AfterSetup<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        IS_EXPLORING.set(false);
        self.0.new_execution()
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        if IS_EXPLORING.get() {
            return self.0.next_task(runnable, current, is_yielding);
        }
        let is_current = |task: &&&Task| Some(task.id()) == current;
        let same = runnable.iter().find(|task| is_current(task) != is_yielding);
        same.or(runnable.first()).map(|task| task.id())
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
}
