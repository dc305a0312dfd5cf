//! What counts as a rejection, and what is sent again.

mod body;
mod breaker;
mod layer;
mod memory;
mod policy;
mod stream;

pub use self::body::ReplayableBody;
pub(crate) use self::breaker::{Breaker, Key as BreakerKey};
pub use self::layer::{Replayable, ReplayableLayer};
pub use self::policy::ReplayPolicy;
pub use self::stream::{KeptBody, ReplayBody};

/// What became of a request whose token was rejected: in the extensions of its response, and
/// nowhere else.
///
/// # Example
///
/// ```
/// use tower_oauth2::{NotReplayed, Replayed};
///
/// fn count(response: &http::Response<()>) -> &'static str {
///     match response.extensions().get::<Replayed>() {
///         Some(Replayed::Yes) => "sent twice",
///         Some(Replayed::No(NotReplayed::BreakerOpen)) => "this API refuses fresh tokens",
///         Some(_) => "rejected, and sent once",
///         None => "ordinary",
///     }
/// }
/// # assert_eq!(count(&http::Response::new(())), "ordinary");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Replayed {
    /// It was sent once more with another token, and this is the response to that.
    Yes,
    /// It was not sent again, and this is the response that rejected its token.
    No(NotReplayed),
}

/// Why a request was not sent again.
///
/// # Example
///
/// See [`Replayed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotReplayed {
    /// Its body could not be given out a second time. The token is replaced for the next request.
    Body,
    /// The API wants a DPoP nonce, and the one that it gave with its last response was not it (RFC 9449 section 9).
    Nonce,
    /// This API has just rejected a fresh token, so that another one would be no better.
    BreakerOpen,
}
