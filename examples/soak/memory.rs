//! What is there while it runs: memory, tasks, connections.

use std::fs;
use std::time::Duration;

use crate::HEAP;

/// How much more may be on the heap when all is dropped than there was after the first round: what grows with each request
/// would be a multiple.
pub(crate) const HEAP_MAY_GROW: usize = 64 * 1024;

/// How much the memory may grow from the second quarter of a round to the last, in KiB: that on the heap, and that which the
/// system has given.
const LIVE_MAY_GROW: u64 = 2 * 1024;
const RESIDENT_MAY_GROW: u64 = 16 * 1024;

/// What grows for less than this is still warming up.
const LEAST: Duration = Duration::from_secs(40);

#[derive(Clone, Copy, Default)]
pub(crate) struct Sample {
    /// On the heap, in KiB.
    pub(crate) live: u64,
    /// In KiB; 0 where the system does not tell it as Linux does.
    pub(crate) resident: u64,
    /// Of the clients.
    pub(crate) tasks: usize,
    /// At both servers.
    pub(crate) connections: usize,
}

impl Sample {
    pub(crate) fn take(tasks: usize, connections: usize) -> Self {
        let live = (HEAP.current_usage() / 1024) as u64;
        Self { live, resident: resident().unwrap_or(0), tasks, connections }
    }
}

fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// The largest of each in one quarter of a round.
#[derive(Clone, Copy, Default)]
pub(crate) struct Quarter(pub(crate) Sample);

/// Samples that were taken in even steps, quarter by quarter.
pub(crate) fn quarters(samples: &[Sample]) -> [Quarter; 4] {
    let of = |n: usize| {
        let (from, to) = (samples.len() * n / 4, samples.len() * (n + 1) / 4);
        let most = |one: Sample, other: &Sample| Sample {
            live: one.live.max(other.live),
            resident: one.resident.max(other.resident),
            tasks: one.tasks.max(other.tasks),
            connections: one.connections.max(other.connections),
        };
        Quarter(samples[from..to].iter().fold(Sample::default(), most))
    };
    [of(0), of(1), of(2), of(3)]
}

/// What has grown that should not.
pub(crate) fn growth(time: Duration, quarters: &[Quarter; 4]) -> Vec<String> {
    if time < LEAST {
        return Vec::new();
    }
    let [_, Quarter(then), _, Quarter(now)] = quarters;
    let mut grown = Vec::new();
    for (what, then, now, may_grow) in [
        ("memory on the heap", then.live, now.live, LIVE_MAY_GROW),
        ("resident memory", then.resident, now.resident, RESIDENT_MAY_GROW),
        ("the number of tasks", then.tasks as u64, now.tasks as u64, 64 + then.tasks as u64),
        (
            "the number of connections",
            then.connections as u64,
            now.connections as u64,
            64 + then.connections as u64,
        ),
    ] {
        if now > then + may_grow {
            grown.push(format!("{what} has grown from {then} to {now}"));
        }
    }
    grown
}
