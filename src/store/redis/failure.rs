//! Errors of a store in Redis, and what they say about a connection.

use std::fmt;

use redis::{ErrorKind, RedisError};

use crate::error::ConfigError;

/// A kind of failure.
///
/// A server may quote a command's arguments, and a token is one of them. Of the server's text this
/// holds one word at most, which is known in advance.
#[derive(Debug)]
pub(super) struct Failure(&'static str);

impl Failure {
    /// Creates the failure of an answer that does not fit its command.
    pub(super) fn nonsense() -> Self {
        Self(NONSENSE)
    }
}

const NONSENSE: &str = "the answer made no sense";

/// The first words of error replies.
const CODES: [&str; 23] = [
    "ASK",
    "BUSY",
    "CLUSTERDOWN",
    "CROSSSLOT",
    "DENIED",
    "ERR",
    "EXECABORT",
    "IOERR",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "MOVED",
    "NOAUTH",
    "NOPERM",
    "NOPROTO",
    "NOREPLICAS",
    "NOSCRIPT",
    "OOM",
    "READONLY",
    "TRYAGAIN",
    "UNKILLABLE",
    "WRONGPASS",
    "WRONGTYPE",
];

/// The codes with which a node says that it cannot serve now, or that it no longer knows the user.
/// After a failover, the same address may lead to a node that can.
const CODES_OF_A_NODE: [&str; 6] =
    ["LOADING", "MASTERDOWN", "MISCONF", "NOAUTH", "NOREPLICAS", "READONLY"];

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self(match error.kind() {
            ErrorKind::Io if error.is_timeout() => "no answer in time",
            ErrorKind::Io if error.is_connection_refusal() => "the connection was refused",
            ErrorKind::Io if error.is_connection_dropped() => "the connection was lost",
            ErrorKind::Io => "the connection failed",
            ErrorKind::AuthenticationFailed => "authentication failed",
            ErrorKind::ClusterConnectionNotFound => "no node of the cluster could be reached",
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => NONSENSE,
            ErrorKind::Server(_) | ErrorKind::Extension => known_code(&error),
            _ => "the client failed",
        })
    }
}

/// Returns the code of an error reply.
fn known_code(error: &RedisError) -> &'static str {
    let code = error.code().unwrap_or_default();
    CODES.into_iter().find(|&known| known == code).unwrap_or("an error reply")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis: {}", self.0)
    }
}

impl std::error::Error for Failure {}

/// Explains why a server's URL is of no use, without quoting it.
pub(super) fn of_config(error: &RedisError) -> ConfigError {
    let error = error.to_string();
    let reasons = [
        ("TLS", "needs TLS: enable a feature of the crate redis, such as tokio-rustls-comp"),
        ("wildcard", "needs the address of a host, not a wildcard"),
        ("database", "needs a number as the database"),
        ("protocol", "needs resp2 or resp3 as the protocol"),
    ];
    let known = reasons.into_iter().find(|(word, _)| error.contains(word));
    ConfigError::new("Redis URL", known.map_or("is not valid", |(_, reason)| reason))
}

/// What to do with a connection after a failure on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recovery {
    /// Keep it: the command failed, and the connection works.
    Keep,
    /// Replace it before the next operation.
    Replace,
    /// Replace it and repeat the command, because another connection may answer at once.
    Repeat,
}

impl Recovery {
    pub(super) fn from(error: &RedisError) -> Self {
        match error.kind() {
            // Waiting once more would double what the caller waits.
            ErrorKind::Io if error.is_timeout() => Self::Replace,
            ErrorKind::Io if error.is_connection_refusal() => Self::Replace,
            ErrorKind::Io => Self::Repeat,
            // After these the connection is out of step, or was never set up.
            ErrorKind::Parse | ErrorKind::AuthenticationFailed => Self::Replace,
            ErrorKind::Server(_) | ErrorKind::Extension
                if CODES_OF_A_NODE.contains(&error.code().unwrap_or_default()) =>
            {
                Self::Repeat
            }
            _ => Self::Keep,
        }
    }
}
