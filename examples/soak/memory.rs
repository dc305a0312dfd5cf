//! Memory, tasks and connections during a round, and their limits.

use std::fs;
use std::time::Duration;

use crate::HEAP;

/// The limit on the growth of the heap since the first round, in bytes. It applies once everything
/// is dropped. A leak in each request would exceed this many times over.
pub(crate) const HEAP_MAY_GROW: usize = 64 * 1024;

/// The limit on the growth of the heap and the resident memory, in KiB. It applies from the second
/// quarter of a round to the last.
const LIVE_MAY_GROW: u64 = 2 * 1024;
const RESIDENT_MAY_GROW: u64 = 16 * 1024;

/// The length of a round from which growth is checked. Shorter rounds are still warming up.
const MIN_TIME: Duration = Duration::from_secs(40);

#[derive(Clone, Copy, Default)]
pub(crate) struct Sample {
    /// Heap in use, in KiB.
    pub(crate) live: u64,
    /// Resident memory in KiB. It is 0 on systems other than Linux.
    pub(crate) resident: u64,
    /// Tasks of the clients.
    pub(crate) tasks: usize,
    /// Open connections at both servers.
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

/// The maximum of each figure in one quarter of a round.
#[derive(Clone, Copy, Default)]
pub(crate) struct Quarter(pub(crate) Sample);

/// Returns the maxima of the four quarters of a round. `samples` are at regular intervals.
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

/// Returns what grew more than it may during a round.
pub(crate) fn growth(time: Duration, quarters: &[Quarter; 4]) -> Vec<String> {
    if time < MIN_TIME {
        return Vec::new();
    }
    let [_, Quarter(then), _, Quarter(now)] = quarters;
    let mut grown = Vec::new();
    for (what, then, now, may_grow) in [
        ("the heap in KiB", then.live, now.live, LIVE_MAY_GROW),
        ("resident memory in KiB", then.resident, now.resident, RESIDENT_MAY_GROW),
        ("the number of tasks", then.tasks as u64, now.tasks as u64, 64 + then.tasks as u64),
        (
            "the number of connections",
            then.connections as u64,
            now.connections as u64,
            64 + then.connections as u64,
        ),
    ] {
        if now > then + may_grow {
            grown.push(format!("{what} grew from {then} to {now}"));
        }
    }
    grown
}
