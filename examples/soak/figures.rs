//! What a round came to, as a table.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::memory::Quarter;

pub(crate) struct Figures {
    pub(crate) took: Duration,
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) quarters: [Quarter; 4],
    /// Left when everything was dropped.
    pub(crate) tasks: usize,
    pub(crate) connections: usize,
    /// How many bytes more than after the first round.
    pub(crate) left_on_heap: Option<usize>,
    pub(crate) broken: Vec<String>,
}

impl Figures {
    /// About how much of the heap these take.
    pub(crate) fn heap_size(&self) -> usize {
        let counts = self.counts.keys().map(|name| name.capacity() + 64).sum::<usize>();
        let broken = self.broken.iter().map(|text| text.capacity() + 64).sum::<usize>();
        counts + broken
    }

    fn count(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        writeln!(f, "\n| in {seconds:.1} s | |\n|---|---:|")?;
        for (what, count) in &self.counts {
            writeln!(f, "| {what} | {count} |")?;
        }
        let sent = self.count("sent for the first time") + self.count("sent again");
        writeln!(f, "| requests a second at the API | {:.0} |", sent as f64 / seconds)?;
        writeln!(f, "| tasks left behind | {} |", self.tasks)?;
        writeln!(f, "| connections left behind | {} |", self.connections)?;
        if let Some(left) = self.left_on_heap {
            writeln!(f, "| bytes left on the heap since the first round | {left} |")?;
        }
        writeln!(f, "| promises broken | {} |", self.broken.len())?;

        writeln!(f, "\n| most in each quarter | 1 | 2 | 3 | 4 |\n|---|---:|---:|---:|---:|")?;
        let mut row = |what: &str, of: fn(&Quarter) -> u64| {
            let [a, b, c, d] = self.quarters.each_ref().map(of);
            writeln!(f, "| {what} | {a} | {b} | {c} | {d} |")
        };
        row("KiB on the heap", |quarter| quarter.0.live)?;
        row("KiB resident", |quarter| quarter.0.resident)?;
        row("tasks of clients", |quarter| quarter.0.tasks as u64)?;
        row("connections", |quarter| quarter.0.connections as u64)
    }
}
