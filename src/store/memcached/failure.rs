//! Why there is no answer.

use std::fmt;
use std::io;

/// Holds nothing that was sent or received: what a server says may repeat a token.
#[derive(Debug)]
pub(super) enum Failure {
    Connect(io::Error),
    /// The connection failed, or ended before the answer began.
    Lost(io::Error),
    BrokenOff,
    Malformed,
    /// An answer, but to another command.
    OutOfStep,
    /// The server announces a value that is larger than any that was stored.
    Oversized,
    /// The server does not take a value that large.
    TooLarge,
    UnknownCommand,
    Refused,
    NoCompare,
    Key,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect(_) => "memcached can not be reached",
            Self::Lost(_) => "the connection to memcached was lost",
            Self::BrokenOff => "memcached's answer broke off",
            Self::Malformed => "memcached's answer can not be understood",
            Self::OutOfStep => "memcached's answer is to another command",
            Self::Oversized => "memcached's answer is larger than 2 MiB",
            Self::TooLarge => "memcached does not take a value that large",
            Self::UnknownCommand => {
                "memcached does not know the command: its meta commands are needed"
            }
            Self::Refused => "memcached answered with an error",
            Self::NoCompare => "memcached runs without compare-and-swap",
            Self::Key => "the key is not one for memcached",
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
