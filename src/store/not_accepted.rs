use std::error::Error;
use std::fmt;
use std::iter::successors;

use tower::BoxError;

/// Says that a [`TokenStore`](crate::store::TokenStore) works but does not accept a value.
///
/// A store returns this error from [`set`](crate::store::TokenStore::set) and
/// [`replace`](crate::store::TokenStore::replace), for example for a value that is too large. The token is
/// then not shared. A [`TokenStoreLayer`](crate::store::TokenStoreLayer) counts every other error as a failure of the
/// store and leaves the store alone for a while. The error may also be the
/// [source](Error::source) of another error.
///
/// # Example
///
/// ```
/// use tower::BoxError;
/// use tower_oauth2::store::ValueNotAccepted;
///
/// fn check(value: &[u8]) -> Result<(), BoxError> {
///     if value.len() > 64 * 1024 {
///         return Err(ValueNotAccepted::new("values are limited to 64 KiB").into());
///     }
///     Ok(())
/// }
/// # assert!(check(&[0; 1 << 20]).unwrap_err().is::<ValueNotAccepted>());
/// ```
#[derive(Debug)]
pub struct ValueNotAccepted {
    cause: BoxError,
}

impl ValueNotAccepted {
    /// Creates an error with its cause, which must not quote the value: it holds a token.
    pub fn new(cause: impl Into<BoxError>) -> Self {
        Self { cause: cause.into() }
    }

    /// Returns whether `error` or one of its sources is a `ValueNotAccepted`.
    pub(super) fn is_in(error: &(dyn Error + 'static)) -> bool {
        // Limited, because a faulty error may be its own cause.
        let mut chain = successors(Some(error), |&error| error.source()).take(16);
        chain.any(|error| error.is::<Self>())
    }
}

impl fmt::Display for ValueNotAccepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the store does not accept the value")
    }
}

impl Error for ValueNotAccepted {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}
