//! Describes errors of a store in Redis, and how the store recovers from them.

use std::fmt;

use redis::{ErrorKind, RedisError};

use crate::error::ConfigError;

/// A kind of failure.
///
/// An error reply may quote the arguments of a command, which include tokens. A failure contains
/// only the error code of that text, and only if it is one of [`CODES`].
#[derive(Debug)]
pub(super) struct Failure(&'static str);

impl Failure {
    /// Creates the failure of an answer that does not fit its command.
    pub(super) fn unexpected_answer() -> Self {
        Self(UNEXPECTED_ANSWER)
    }
}

const UNEXPECTED_ANSWER: &str = "the server returned an unexpected answer";

/// The known error codes, which are the first words of error replies.
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

/// The error codes of a node that needs to be replaced.
///
/// The node cannot serve now, or no longer knows the user.
///
/// After a failover, the same address may lead to another node.
const NODE_CODES: [&str; 6] =
    ["LOADING", "MASTERDOWN", "MISCONF", "NOAUTH", "NOREPLICAS", "READONLY"];

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self(match error.kind() {
            ErrorKind::Io if error.is_timeout() => "the server did not answer in time",
            ErrorKind::Io if error.is_connection_refusal() => "the connection was refused",
            ErrorKind::Io if error.is_connection_dropped() => "the connection was lost",
            ErrorKind::Io => "the connection failed",
            ErrorKind::AuthenticationFailed => "authentication failed",
            ErrorKind::ClusterConnectionNotFound => "no node of the cluster could be reached",
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => UNEXPECTED_ANSWER,
            ErrorKind::Server(_) | ErrorKind::Extension => known_code(&error),
            _ => "the client library failed",
        })
    }
}

/// Returns the code of an error reply if it is known.
fn known_code(error: &RedisError) -> &'static str {
    let code = error.code().unwrap_or_default();
    CODES.into_iter().find(|&known| known == code).unwrap_or("the server returned an error")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis: {}", self.0)
    }
}

impl std::error::Error for Failure {}

/// Explains why a URL is not valid.
pub(super) fn config_error(error: &RedisError, url: &str) -> ConfigError {
    let error = error.to_string();
    let reasons = [
        ("TLS", "requires TLS: enable a TLS feature of the crate redis, such as tokio-rustls-comp"),
        ("wildcard", "must contain the address of a host, not a wildcard"),
        ("database", "must have a number as its database"),
        ("protocol", "must have resp2 or resp3 as its protocol"),
    ];
    let known = reasons.into_iter().find(|(word, _)| error.contains(word));
    let problem = known.map_or("must be redis://host:port/database", |(_, reason)| reason);
    ConfigError::new("Redis URL", problem).with_url(url)
}

/// Says how to recover a connection after a failure on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recovery {
    /// Keep the connection: only the command failed.
    Keep,
    /// Replace the connection before the next operation.
    Replace,
    /// Replace the connection and repeat the command, because a new connection may answer.
    Repeat,
}

impl Recovery {
    pub(super) fn from(error: &RedisError) -> Self {
        match error.kind() {
            // Repeating the command would double the wait of the caller.
            ErrorKind::Io if error.is_timeout() => Self::Replace,
            ErrorKind::Io if error.is_connection_refusal() => Self::Replace,
            ErrorKind::Io => Self::Repeat,
            // The connection may return the answer of another command, or was never set up.
            ErrorKind::Parse | ErrorKind::AuthenticationFailed => Self::Replace,
            ErrorKind::Server(_) | ErrorKind::Extension
                if NODE_CODES.contains(&error.code().unwrap_or_default()) =>
            {
                Self::Repeat
            }
            _ => Self::Keep,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_feature_for_tls_is_named() {
        // The error of the crate `redis` for `rediss://` without a TLS feature.
        let text = "can't connect with TLS, the feature is not enabled";
        let error = (ErrorKind::InvalidClientConfig, text).into();
        assert_eq!(
            config_error(&error, "rediss://:s3cr3t@host").to_string(),
            "Redis URL requires TLS: enable a TLS feature of the crate redis, such as \
             tokio-rustls-comp: rediss://...@host"
        );
    }
}
