use std::error::Error;
use std::fmt;

use tower::BoxError;

use crate::error::chain;

/// Reports that a store works but does not accept a value.
///
/// A [`TokenStore`](crate::store::TokenStore) returns this error from `set` and `replace`, for
/// example for a value that is too large. The layer then does not share the token and continues to
/// use the store. Every other error counts as a failure of the store, which is then not used for
/// some time. The error may also be the [source](Error::source) of another error.
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
    /// Creates an error with its cause.
    ///
    /// The cause must not quote the value, which contains a token.
    pub fn new(cause: impl Into<BoxError>) -> Self {
        Self { cause: cause.into() }
    }

    /// Returns whether `error` or one of its sources is a `ValueNotAccepted`.
    pub(super) fn is_in(error: &(dyn Error + 'static)) -> bool {
        chain(error).any(|error| error.is::<Self>())
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
