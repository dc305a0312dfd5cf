//! How often, how many at once, and how fast.

use std::time::Duration;

use super::Mistake;
use super::value::Value;

pub(super) const HELP: &str = "\
Load:
  --repeat N                 how many requests in all; 1 unless given
  --concurrency N            how many at once, at most 65535; 1 unless given
  --every MS                 at least so many milliseconds between the starts of requests
";

pub(super) struct Group {
    repeat: u32,
    concurrency: u16,
    every: u32,
}

pub(crate) struct Load {
    pub(crate) repeat: u32,
    pub(crate) concurrency: usize,
    pub(crate) every: Duration,
}

impl Default for Group {
    fn default() -> Self {
        Self { repeat: 1, concurrency: 1, every: 0 }
    }
}

impl Group {
    pub(super) fn take(&mut self, option: &str, value: &mut Value<'_>) -> Result<bool, Mistake> {
        match option {
            "repeat" => self.repeat = value.number(1..=u32::MAX)?,
            "concurrency" => self.concurrency = value.number(1..=u16::MAX)?,
            "every" => self.every = value.number(0..=u32::MAX)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn finish(self) -> Load {
        Load {
            repeat: self.repeat,
            concurrency: self.concurrency.into(),
            every: Duration::from_millis(self.every.into()),
        }
    }
}
