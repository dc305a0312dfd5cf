//! Limits the time for a secret or key, and names it in the error.

use std::fmt;
use std::future::Future;

use tokio::time::{Instant, timeout_at};
use tower::BoxError;

use crate::util::printable::Printable;

/// Reports that a secret or key was not available at the deadline.
///
/// The deadline is that of its token request.
#[derive(Debug)]
pub(crate) struct SecretTimeout {
    /// The `Debug` text of the secret or key, which names its source.
    name: String,
}

/// Waits for `read` until the deadline, if there is one.
///
/// Without the name, a secret that hangs would look like a slow token endpoint.
pub(crate) async fn wait_until_deadline<T>(
    deadline: Option<Instant>,
    name: impl fmt::Debug,
    read: impl Future<Output = Result<T, BoxError>>,
) -> Result<T, BoxError> {
    let Some(deadline) = deadline else {
        return read.await;
    };
    match timeout_at(deadline, read).await {
        Ok(result) => result,
        Err(_) => {
            let name = Printable(format_args!("{name:?}")).to_string();
            tracing::warn!(name, "a secret did not arrive in time; no token request was sent");
            Err(SecretTimeout { name }.into())
        }
    }
}

impl fmt::Display for SecretTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} did not arrive in time", self.name)
    }
}

impl std::error::Error for SecretTimeout {}
