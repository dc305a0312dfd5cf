//! Options for the body of the request.

use std::path::PathBuf;
use std::{fs, io};

use bytes::Bytes;

use super::Mistake;
use super::value::Value;
use crate::bounded;

pub(super) const HELP: &str = "\
Body:
  --data DATA                the body; @FILE reads a file, and @- stdin; at most 64 MiB without
                             --stream
  --stream                   send the body in chunks while it is read
  --replay-limit BYTES       how much of a stream is kept to be sent again if the token is rejected;
                             65536 by default
";

#[derive(Default)]
pub(super) struct Group {
    data: Option<String>,
    stream: bool,
    replay_limit: Option<u64>,
}

pub(crate) enum Payload {
    Whole(Bytes),
    Chunks { source: Source, replay_limit: Option<usize> },
}

/// The source of a streamed body.
#[derive(Clone)]
pub(crate) enum Source {
    Text(Bytes),
    File(PathBuf),
    Stdin,
}

impl Group {
    pub(super) fn take(&mut self, option: &str, value: &mut Value<'_>) -> Result<bool, Mistake> {
        match option {
            "data" => self.data = Some(value.text()?),
            "stream" => self.stream = true,
            "replay-limit" => self.replay_limit = Some(value.number(0..=u64::MAX)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn has_data(&self) -> bool {
        self.data.is_some()
    }

    /// Checks the options, and returns the body of `repeat` requests.
    pub(super) fn finish(self, repeat: u32) -> Result<Payload, Mistake> {
        let source = self.data.map(Source::new);
        if !self.stream {
            if self.replay_limit.is_some() {
                return Err(Mistake::new("--replay-limit: needs --stream"));
            }
            let data = source.map(Source::read).transpose().map_err(unreadable)?;
            return Ok(Payload::Whole(data.unwrap_or_default()));
        }
        let source = source.ok_or_else(|| Mistake::new("--stream: needs --data"))?;
        source.check().map_err(unreadable)?;
        if matches!(source, Source::Stdin) && repeat > 1 {
            return Err(Mistake::new("--repeat: stdin can be streamed once only"));
        }
        // More bytes than `usize::MAX` do not fit into memory.
        let replay_limit =
            self.replay_limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(Payload::Chunks { source, replay_limit })
    }
}

impl Source {
    fn new(data: String) -> Self {
        match data.strip_prefix('@') {
            Some("-") => Self::Stdin,
            Some(path) => Self::File(path.into()),
            None => Self::Text(data.into()),
        }
    }

    fn read(self) -> io::Result<Bytes> {
        match self {
            Self::Text(text) => Ok(text),
            Self::File(path) => bounded::file(&path).map(Bytes::from),
            Self::Stdin => bounded::to_end(io::stdin()).map(Bytes::from),
        }
    }

    /// Returns an error for a missing file or a directory.
    ///
    /// Opens nothing, because a pipe can be read only once.
    fn check(&self) -> io::Result<()> {
        match self {
            Self::File(path) if fs::metadata(path)?.is_dir() => {
                Err(io::ErrorKind::IsADirectory.into())
            }
            _ => Ok(()),
        }
    }
}

fn unreadable(error: io::Error) -> Mistake {
    Mistake(format!("--data: {error}"))
}
