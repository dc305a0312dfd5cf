//! Measures calls per second for more and more tasks, on one thread and on two.

use std::time::Duration;

use http::Request;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tower::{BoxError, Service, ServiceExt};
use tower_oauth2::replay::ReplayPolicy;

use super::picture::{Axis, Panel, Series, draw};
use crate::cases::by_hand::{ByHand, Mutexed, RwLocked, endless};
use crate::cases::stacks::{Cloning, credentials, fixed, layer, tokens};
use crate::cases::{Api, Body, request, stacks};
use crate::{Pictures, median, now, runtime};

const TASKS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
const THREADS: [usize; 2] = [1, 2];
/// Short, so that other load of the machine affects all stacks alike.
const ROUND: Duration = Duration::from_millis(50);
const ROUNDS: usize = 7;

const NAMES: [&str; 6] = [
    "AddAuthorization",
    "tower-oauth2, no replay",
    "AddAuthorization, cloned",
    "tower-oauth2",
    "RwLock by hand",
    "Mutex by hand",
];

pub fn run(pictures: &Pictures) {
    let own = credentials(0);
    let cache = tokens(own, stacks::endless());
    runtime(1).block_on(cache.warm()).expect("the source always answers");
    let ours = layer(cache);
    let never = ours.clone().replay_policy(ReplayPolicy::never()).layer(Api);
    let ours = ours.layer(Api);
    let cloned = Cloning::new(fixed(Api));
    let rwlock = ByHand::<RwLocked, _>::new(Api, endless);
    let mutex = ByHand::<Mutexed, _>::new(Api, endless);

    let mut table: Table = [[[0.0; NAMES.len()]; TASKS.len()]; THREADS.len()];
    for (table, threads) in table.iter_mut().zip(THREADS) {
        let runtime = runtime(threads);
        for (row, tasks) in table.iter_mut().zip(TASKS) {
            let mut rounds = [const { Vec::new() }; NAMES.len()];
            for _ in 0..ROUNDS {
                rounds[0].push(rate(&runtime, tasks, &fixed(Api)));
                rounds[1].push(rate(&runtime, tasks, &never));
                rounds[2].push(rate(&runtime, tasks, &cloned));
                rounds[3].push(rate(&runtime, tasks, &ours));
                rounds[4].push(rate(&runtime, tasks, &rwlock));
                rounds[5].push(rate(&runtime, tasks, &mutex));
            }
            *row = rounds.map(|mut rounds| median(&mut rounds));
        }
    }

    println!("| calls per second, in thousands | {} |", NAMES.join(" | "));
    println!("|---{}|", "|--:".repeat(NAMES.len()));
    for (table, threads) in table.iter().zip(THREADS) {
        for (row, tasks) in table.iter().zip(TASKS) {
            let cells = row.map(|rate| format!("{:.0}", rate / 1000.0)).join(" | ");
            println!("| {tasks} tasks, {threads} thread{} | {cells} |", ["", "s"][threads - 1]);
        }
    }
    let cells: Vec<_> = (0..NAMES.len())
        .map(|stack| {
            // Two threads need at least two tasks.
            let mut ratios: Vec<_> =
                (1..TASKS.len()).map(|row| table[1][row][stack] / table[0][row][stack]).collect();
            format!("{:.2}", median(&mut ratios))
        })
        .collect();
    println!("| 2 threads : 1 thread, median | {} |", cells.join(" | "));
    pictures.write("scaling.svg", || picture(&table));
}

/// Returns the calls per second of all tasks together, each with its own service.
fn rate<S, B>(runtime: &Runtime, tasks: usize, service: &S) -> f64
where
    S: Service<Request<Body>, Response = http::Response<B>, Error = BoxError>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    runtime.block_on(async {
        let start = now();
        let end = start + ROUND;
        let mut callers = JoinSet::new();
        for _ in 0..tasks {
            let mut service = service.clone();
            callers.spawn(async move {
                let mut count = 0_u32;
                while now() < end {
                    for _ in 0..64 {
                        let ready = service.ready().await.expect("an API that is ready");
                        ready.call(request()).await.expect("a response");
                    }
                    count += 64;
                    tokio::task::yield_now().await;
                }
                count
            });
        }
        let count: u32 = callers.join_all().await.into_iter().sum();
        f64::from(count) / (now() - start).as_secs_f64()
    })
}

/// The results by threads, by tasks and by stack.
type Table = [[[f64; NAMES.len()]; TASKS.len()]; THREADS.len()];

/// Returns the results of a stack with the fewest and the most tasks.
fn results(table: &Table, stack: usize) -> String {
    let threads: Vec<_> = THREADS
        .iter()
        .zip(table)
        .map(|(threads, rows)| {
            let [few, many] = [0, TASKS.len() - 1].map(|row| rows[row][stack] / 1e6);
            let s = ["", "s"][threads - 1];
            format!("{few:.3} and {many:.3} million on {threads} thread{s}")
        })
        .collect();
    format!("{}: {}.", NAMES[stack], threads.join(", "))
}

fn picture(table: &Table) -> String {
    let most = table.iter().flatten().flatten().fold(0.0, |most: f64, rate| most.max(*rate)) / 1e6;
    let top = (most * 5.0).ceil() / 5.0;
    let ticks = (0..=4).map(|n| top * f64::from(n) / 4.0);
    let ticks = ticks.map(|value| (value, format!("{value:.2}"))).collect();
    let y = Axis { from: 0.0, to: top, ticks };
    let ticks = TASKS.iter().enumerate().map(|(n, tasks)| (n as f64, tasks.to_string()));
    let x = Axis { from: 0.0, to: (TASKS.len() - 1) as f64, ticks: ticks.collect() };
    let panels: Vec<_> = THREADS
        .iter()
        .zip(table)
        .map(|(threads, rows)| Panel {
            name: format!("{threads} thread{}", ["", "s"][threads - 1]),
            x: &x,
            y: &y,
            series: (0..NAMES.len())
                .map(|stack| {
                    let points = rows.iter().enumerate();
                    let points = points.map(|(n, row)| (n as f64, row[stack] / 1e6)).collect();
                    Series { colour: stack, points }
                })
                .collect(),
        })
        .collect();
    let results: Vec<_> = (0..NAMES.len()).map(|stack| results(table, stack)).collect();
    draw(
        "Calls per second on one token, in millions",
        &format!("These are the calls per second with 1 and with 64 tasks. {}", results.join(" ")),
        &[
            "The x-axis shows the number of tasks. Each task has",
            "its own clone of the service. The API responds at once.",
        ],
        &NAMES,
        &panels,
    )
}
