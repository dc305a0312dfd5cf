//! Defines sources of secrets other than texts and files.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use tower::BoxError;
use zeroize::Zeroizing;

use super::Identity;
use crate::util::invisible::fault_of_secret;

/// Provides a [`Secret`](super::Secret) for every token request.
///
/// Its `Debug` text names the source in errors and log events, and must not contain the secret.
pub(crate) trait SecretSource: fmt::Debug + Send + Sync {
    /// Reads the current secret.
    fn read(&self) -> ReadFuture<'_>;

    /// Adds the parts that distinguish the source from other sources of all kinds.
    fn identify(&self, identity: &mut Identity);

    /// Returns a different number whenever the secret has changed.
    fn version(&self) -> u64 {
        0
    }
}

pub(crate) type ReadFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Zeroizing<String>, BoxError>> + Send + 'a>>;

/// Wraps a function that returns a secret.
pub(super) struct Function<F> {
    name: String,
    read: F,
}

impl<F> Function<F> {
    pub(super) fn new(name: String, read: F) -> Self {
        Self { name, read }
    }
}

impl<F, R, T, E> SecretSource for Function<F>
where
    F: Fn() -> R + Send + Sync,
    R: Future<Output = Result<T, E>> + Send + 'static,
    T: Into<String>,
    E: Into<BoxError>,
{
    fn read(&self) -> ReadFuture<'_> {
        let reading = (self.read)();
        Box::pin(async move {
            let text = Zeroizing::new(reading.await.map_err(Into::into)?.into());
            match fault_of_secret(&text) {
                Some(fault) => Err(format!("the secret {fault}").into()),
                None => Ok(text),
            }
        })
    }

    fn identify(&self, identity: &mut Identity) {
        identity.part("function").part(&self.name);
    }
}

impl<F> fmt::Debug for Function<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret::from_fn({:?})", self.name)
    }
}
