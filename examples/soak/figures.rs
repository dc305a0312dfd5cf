//! The results of a round, printed as a table.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::memory::Quarter;

pub(crate) struct Figures {
    pub(crate) duration: Duration,
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) quarters: [Quarter; 4],
    /// Tasks that still ran after everything was dropped.
    pub(crate) tasks: usize,
    /// Connections that were still open after everything was dropped.
    pub(crate) connections: usize,
    /// Bytes by which the heap is larger than after the first round.
    pub(crate) left_on_heap: Option<usize>,
    /// The promises that were broken.
    pub(crate) broken: Vec<String>,
}

impl Figures {
    /// Returns about how many bytes of the heap the figures use.
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
        let seconds = self.duration.as_secs_f64();
        writeln!(f, "\n| in {seconds:.1} s | count |\n|---|---:|")?;
        for (what, count) in &self.counts {
            writeln!(f, "| {what} | {count} |")?;
        }
        let sent = self.count("requests sent") + self.count("requests resent");
        writeln!(f, "| requests per second at the API | {:.0} |", sent as f64 / seconds)?;
        writeln!(f, "| leaked tasks | {} |", self.tasks)?;
        writeln!(f, "| leaked connections | {} |", self.connections)?;
        if let Some(left) = self.left_on_heap {
            writeln!(f, "| heap growth since the first round, bytes | {left} |")?;
        }
        writeln!(f, "| promises broken | {} |", self.broken.len())?;

        writeln!(f, "\n| maximum in each quarter | 1 | 2 | 3 | 4 |\n|---|---:|---:|---:|---:|")?;
        let mut row = |what: &str, of: fn(&Quarter) -> u64| {
            let [a, b, c, d] = self.quarters.each_ref().map(of);
            writeln!(f, "| {what} | {a} | {b} | {c} | {d} |")
        };
        row("heap, KiB", |quarter| quarter.0.live)?;
        row("resident memory, KiB", |quarter| quarter.0.resident)?;
        row("client tasks", |quarter| quarter.0.tasks as u64)?;
        row("connections", |quarter| quarter.0.connections as u64)
    }
}
