//! Options for the number and the pace of requests.

use std::time::Duration;

use super::Mistake;
use super::value::Value;

pub(super) const HELP: &str = "\
Load:
  --repeat N                 the number of requests; 1 by default
  --concurrency N            the number of requests at the same time, at most 65535; 1 by default
  --every MS                 the least time between the starts of two requests, in milliseconds
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
