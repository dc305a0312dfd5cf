//! Encodes commands and decodes the first lines of their answers.
//!
//! See "Meta Commands" in `doc/protocol.txt` of memcached.

use std::num::NonZeroU64;

use zeroize::Zeroizing;

use super::failure::Failure;

/// The maximum size of a value that is read, which is that of a
/// [`TokenStore`](crate::store::TokenStore).
pub(super) const MAX_VALUE: usize = 2 * 1024 * 1024;

pub(super) enum Command<'a> {
    Get { key: &'a str },
    Set { key: &'a str, value: &'a [u8], seconds: u64, condition: Condition },
    Delete { key: &'a str, cas: NonZeroU64 },
}

/// The condition under which a value is stored.
pub(super) enum Condition {
    Always,
    IfAbsent,
    /// Stores the value if the current one has this compare-and-swap number.
    IfUnchanged(NonZeroU64),
}

pub(super) enum Answer {
    Item(Item),
    Done,
    Absent,
    /// Another value is stored.
    Conflict,
}

pub(super) struct Item {
    pub(super) value: Vec<u8>,
    /// The remaining seconds, or `None` if the value does not expire.
    pub(super) seconds_left: Option<u64>,
    cas: u64,
}

/// The first line of an answer.
pub(super) enum Head {
    /// An item, whose value of this length follows.
    Item(Item, usize),
    /// A complete answer.
    Complete(Answer),
}

impl Command<'_> {
    /// Returns the bytes of the command. The server repeats `number` in its answer.
    pub(super) fn encode(&self, number: u64) -> Zeroizing<Vec<u8>> {
        let (line, value) = match self {
            Self::Get { key } => (format!("mg {key} v t c O{number}\r\n"), None),
            Self::Set { key, value, seconds, condition } => {
                let mode = match condition {
                    Condition::Always => String::new(),
                    Condition::IfAbsent => " ME".to_owned(),
                    Condition::IfUnchanged(cas) => format!(" C{cas}"),
                };
                let length = value.len();
                (format!("ms {key} {length} T{seconds}{mode} O{number}\r\n"), Some(value))
            }
            Self::Delete { key, cas } => (format!("md {key} C{cas} O{number}\r\n"), None),
        };
        // The buffer has its final capacity, because growing would leave a copy of the token in
        // memory.
        let length = line.len() + value.map_or(0, |value| value.len() + 2);
        let mut bytes = Zeroizing::new(Vec::with_capacity(length));
        bytes.extend_from_slice(line.as_bytes());
        if let Some(value) = value {
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }

    /// Decodes the first line of the answer to this command with `number`.
    pub(super) fn decode(&self, line: &str, number: u64) -> Result<Head, Failure> {
        let mut words = line.split(' ');
        let code = words.next().unwrap_or_default();
        let head = match (self, code) {
            (Self::Get { .. }, "VA") => {
                let length = words.next().and_then(digits).ok_or(Failure::Malformed)?;
                let length = usize::try_from(length).map_err(|_| Failure::Oversized)?;
                if length > MAX_VALUE {
                    return Err(Failure::Oversized);
                }
                Head::Item(Item { value: Vec::new(), seconds_left: None, cas: 0 }, length)
            }
            (Self::Get { .. }, "EN") => Head::Complete(Answer::Absent),
            (Self::Set { .. } | Self::Delete { .. }, "HD") => Head::Complete(Answer::Done),
            (Self::Set { .. } | Self::Delete { .. }, "NF") => Head::Complete(Answer::Absent),
            (Self::Set { .. }, "NS") | (Self::Set { .. } | Self::Delete { .. }, "EX") => {
                Head::Complete(Answer::Conflict)
            }
            (_, "ERROR") => return Err(Failure::UnknownCommand),
            (_, "SERVER_ERROR") if line.starts_with("SERVER_ERROR object too large") => {
                return Err(Failure::TooLarge);
            }
            (_, "SERVER_ERROR" | "CLIENT_ERROR") => return Err(Failure::Refused),
            (_, "VA" | "EN" | "HD" | "NF" | "NS" | "EX") => return Err(Failure::WrongAnswer),
            _ => return Err(Failure::Malformed),
        };
        // Some versions of the server do not repeat the number after `EN`.
        let is_bare = code == "EN" && words.clone().next().is_none();
        let flag = |name| words.clone().find_map(|word| word.strip_prefix(name));
        if !is_bare && flag('O').and_then(digits) != Some(number) {
            return Err(Failure::WrongAnswer);
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
    /// Returns the compare-and-swap number, which changes with the value.
    pub(super) fn cas(&self) -> Result<NonZeroU64, Failure> {
        // The server stores without comparing if the number is 0.
        NonZeroU64::new(self.cas).ok_or(Failure::NoCompareAndSwap)
    }
}

fn digits(text: &str) -> Option<u64> {
    // `parse` accepts a sign.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}
