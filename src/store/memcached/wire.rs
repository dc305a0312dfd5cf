//! The commands and the first lines of their answers (memcached's `doc/protocol.txt`, "Meta Commands").

use std::num::NonZeroU64;

use zeroize::Zeroizing;

use super::failure::Failure;

/// The largest value that is read: a [`TokenStore`](crate::store::TokenStore)'s.
pub(super) const LARGEST_VALUE: usize = 2 * 1024 * 1024;

pub(super) enum Command<'a> {
    Get { key: &'a str },
    Set { key: &'a str, value: &'a [u8], seconds: u64, mode: Mode },
    Delete { key: &'a str, cas: NonZeroU64 },
}

/// In the place of what a value may come.
pub(super) enum Mode {
    Whatever,
    Absent,
    Unchanged(NonZeroU64),
}

pub(super) enum Answer {
    Item(Item),
    Done,
    Absent,
    /// Something else is there.
    Refused,
}

pub(super) struct Item {
    pub(super) value: Vec<u8>,
    /// None if it does not end.
    pub(super) seconds_left: Option<u64>,
    cas: u64,
}

/// The first line of an answer.
pub(super) enum Head {
    /// The value follows, and is as long as that.
    Item(Item, usize),
    Alone(Answer),
}

impl Command<'_> {
    /// What to send. The answer repeats `number`.
    pub(super) fn encode(&self, number: u64) -> Zeroizing<Vec<u8>> {
        let (line, value) = match self {
            Self::Get { key } => (format!("mg {key} v t c O{number}\r\n"), None),
            Self::Set { key, value, seconds, mode } => {
                let mode = match mode {
                    Mode::Whatever => String::new(),
                    Mode::Absent => " ME".to_owned(),
                    Mode::Unchanged(cas) => format!(" C{cas}"),
                };
                let length = value.len();
                (format!("ms {key} {length} T{seconds}{mode} O{number}\r\n"), Some(value))
            }
            Self::Delete { key, cas } => (format!("md {key} C{cas} O{number}\r\n"), None),
        };
        // Never grown: nothing of a token is left behind.
        let length = line.len() + value.map_or(0, |value| value.len() + 2);
        let mut bytes = Zeroizing::new(Vec::with_capacity(length));
        bytes.extend_from_slice(line.as_bytes());
        if let Some(value) = value {
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }

    /// The first line of the answer to the command that was sent under `number`.
    pub(super) fn decode(&self, line: &str, number: u64) -> Result<Head, Failure> {
        let mut words = line.split(' ');
        let code = words.next().unwrap_or_default();
        let head = match (self, code) {
            (Self::Get { .. }, "VA") => {
                let length = words.next().and_then(digits).ok_or(Failure::Malformed)?;
                let length = usize::try_from(length).map_err(|_| Failure::Oversized)?;
                if length > LARGEST_VALUE {
                    return Err(Failure::Oversized);
                }
                Head::Item(Item { value: Vec::new(), seconds_left: None, cas: 0 }, length)
            }
            (Self::Get { .. }, "EN") => Head::Alone(Answer::Absent),
            (Self::Set { .. } | Self::Delete { .. }, "HD") => Head::Alone(Answer::Done),
            (Self::Set { .. } | Self::Delete { .. }, "NF") => Head::Alone(Answer::Absent),
            (Self::Set { .. }, "NS") | (Self::Set { .. } | Self::Delete { .. }, "EX") => {
                Head::Alone(Answer::Refused)
            }
            (_, "ERROR") => return Err(Failure::UnknownCommand),
            (_, "SERVER_ERROR") if line.starts_with("SERVER_ERROR object too large") => {
                return Err(Failure::TooLarge);
            }
            (_, "SERVER_ERROR" | "CLIENT_ERROR") => return Err(Failure::Refused),
            (_, "VA" | "EN" | "HD" | "NF" | "NS" | "EX") => return Err(Failure::OutOfStep),
            _ => return Err(Failure::Malformed),
        };
        // Some versions of the server say no more than `EN`.
        let is_bare = code == "EN" && words.clone().next().is_none();
        let flag = |name| words.clone().find_map(|word| word.strip_prefix(name));
        if !is_bare && flag('O').and_then(digits) != Some(number) {
            return Err(Failure::OutOfStep);
        }
        let Head::Item(mut item, length) = head else {
            return Ok(head);
        };
        item.cas = flag('c').and_then(digits).ok_or(Failure::Malformed)?;
        item.seconds_left = match flag('t').ok_or(Failure::Malformed)? {
            "-1" => None,
            left => Some(digits(left).ok_or(Failure::Malformed)?),
        };
        Ok(Head::Item(item, length))
    }
}

impl Item {
    /// What tells whether it has changed.
    pub(super) fn cas(&self) -> Result<NonZeroU64, Failure> {
        // To compare with 0 is not to compare.
        NonZeroU64::new(self.cas).ok_or(Failure::NoCompare)
    }
}

fn digits(text: &str) -> Option<u64> {
    // `parse` takes a sign.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}
