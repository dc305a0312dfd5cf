//! Bounds the wait for a token by the deadline of the request.

use std::fmt;

use http::Request;
use tokio::time::{Instant, sleep_until};

use super::grpc_timeout;
use crate::credentials::Credentials;
use crate::error::{TokenError, TokenErrorKind};
use crate::util::race::run_until;

/// Reports that a request waited for a token until its own deadline.
///
/// It is the source of a [`TokenError`](crate::TokenError).
#[derive(Debug)]
pub(crate) struct CallTimeout;

impl fmt::Display for CallTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline of the call has passed")
    }
}

impl std::error::Error for CallTimeout {}

/// The end of the wait for a token.
///
/// An HTTP client whose requests have a timeout puts it into their extensions.
#[derive(Clone, Copy)]
pub(crate) struct Deadline {
    end: Instant,
    /// Details for the error after the end.
    note: &'static str,
}

impl Deadline {
    #[cfg(feature = "reqwest")]
    pub(crate) fn new(end: Instant, note: &'static str) -> Self {
        Self { end, note }
    }

    /// Returns the earlier of the deadline in the extensions and the gRPC deadline.
    ///
    /// The gRPC timeout begins now.
    pub(super) fn of<B>(request: &Request<B>) -> Option<Self> {
        let grpc = grpc_timeout::parse(request.headers()).map(|timeout| Self {
            end: Instant::now() + timeout,
            note: "the grpc-timeout of the call has passed",
        });
        let named = request.extensions().get::<Self>().copied();
        grpc.into_iter().chain(named).min_by_key(|deadline| deadline.end)
    }

    /// Returns the time that is left.
    #[cfg(feature = "reqwest")]
    pub(crate) fn remaining(self) -> std::time::Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Waits for a token until the deadline.
    ///
    /// The timer is created only once the token is awaited, because a token that is available needs
    /// no runtime.
    pub(super) async fn wait<T>(
        self,
        credentials: Credentials,
        token: impl Future<Output = Result<T, TokenError>>,
    ) -> Result<T, TokenError> {
        let timer = async { sleep_until(self.end).await };
        run_until(timer, token).await.unwrap_or_else(|| {
            let error = TokenError::with_source(TokenErrorKind::Timeout, CallTimeout.into());
            Err(error
                .with_note(self.note)
                .at(credentials.server())
                .with_label(credentials.label_if_set()))
        })
    }
}
