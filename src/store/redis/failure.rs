//! What is told of an error.

use std::fmt;

use redis::{ErrorKind, RedisError};

/// What kind of failure it was. A server may quote a command's arguments, a token among them: no more
/// of its text gets in here than a word that is known beforehand.
#[derive(Debug)]
pub(super) struct Failure(&'static str);

impl Failure {
    /// An answer that is none.
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

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self(match error.kind() {
            ErrorKind::Io if error.is_timeout() => "it took too long",
            ErrorKind::Io if error.is_connection_refusal() => "the connection was refused",
            ErrorKind::Io if error.is_connection_dropped() => "the connection was lost",
            ErrorKind::Io => "the connection failed",
            ErrorKind::AuthenticationFailed => "authentication failed",
            ErrorKind::ClusterConnectionNotFound => "no node of the cluster could be reached",
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => NONSENSE,
            ErrorKind::Server(_) | ErrorKind::Extension => code(&error),
            _ => "the client could not ask",
        })
    }
}

/// The code of an error reply.
fn code(error: &RedisError) -> &'static str {
    let code = error.code().unwrap_or_default();
    CODES.into_iter().find(|&known| known == code).unwrap_or("an error reply")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis: {}", self.0)
    }
}

impl std::error::Error for Failure {}
