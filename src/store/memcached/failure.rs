//! Defines the errors of a store in memcached.

use std::fmt;
use std::io;

/// The reason why an operation has no result.
///
/// It contains no text from the server, because an answer may repeat a token.
#[derive(Debug)]
pub(super) enum Failure {
    Connect(io::Error),
    /// The connection failed, or ended before the answer began.
    Lost(io::Error),
    /// The connection ended within an answer.
    Truncated,
    /// The answer does not follow the protocol.
    Malformed,
    /// The answer belongs to another command.
    WrongAnswer,
    /// The server announces a larger value than this crate stores.
    Oversized,
    /// The server does not accept a value of this size.
    TooLarge,
    UnknownCommand,
    /// The server returned an error.
    Refused,
    /// The server does not support compare-and-swap.
    NoCompareAndSwap,
    /// The key is too long or contains whitespace.
    InvalidKey,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect(_) => "cannot connect to memcached",
            Self::Lost(_) => "the connection to memcached was lost",
            Self::Truncated => "the answer of memcached is truncated",
            Self::Malformed => "the answer of memcached is malformed",
            Self::WrongAnswer => "memcached answered another command",
            Self::Oversized => "the answer of memcached is larger than 2 MiB",
            Self::TooLarge => "the value is too large for memcached",
            Self::UnknownCommand => {
                "memcached does not support meta commands: use version 1.6.18 or later"
            }
            Self::Refused => "memcached returned an error",
            Self::NoCompareAndSwap => {
                "memcached runs without compare-and-swap: start it without -C"
            }
            Self::InvalidKey => "the key is not valid in memcached",
        })
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect(error) | Self::Lost(error) => Some(error),
            _ => None,
        }
    }
}
