//! Says which responses reject a token, and makes request bodies replayable.
//!
//! - [`ReplayPolicy`] says which responses reject a token.
//! - [`Replayed`] and [`NotReplayed`] in the extensions of a response say what happened after a
//!   rejection.
//! - [`ReplayableLayer`] makes streaming bodies replayable, and [`ReplayableBody`] is the trait of
//!   the bodies that can be sent twice.
//! - [`DrainLayer`] keeps HTTP/1.1 connections after a rejection.
//!
//! The guide has an [example with a stream](crate::guide::streaming), and explains [how a 401 is
//! healed](crate::guide::replay).

mod body;
mod drain;
mod drained_body;
mod layer;
mod memory;
mod policy;
mod replay_body;
mod stream;

pub use self::body::ReplayableBody;
pub use self::drain::{Drain, DrainFuture};
pub use self::drained_body::DrainedBody;
pub use self::layer::Replayable;
pub(crate) use self::policy::Recipient;
pub use self::replay_body::{KeptBody, ReplayBody};

// Rustdoc's search finds an alias at a `pub use`, and not at a definition in a private module.
#[doc(alias("keep-alive", "connection reuse"))]
pub use self::drain::DrainLayer;
#[doc(alias("streaming", "buffer body", "clone body", "retry"))]
pub use self::layer::ReplayableLayer;
#[doc(alias("401", "unauthorized", "retry", "WWW-Authenticate"))]
pub use self::policy::ReplayPolicy;

/// Says whether a request was resent after its token was rejected.
///
/// It is in the extensions of such a request's response, and of no other response.
///
/// # Example
///
/// ```
/// use tower_oauth2::replay::{NotReplayed, Replayed};
///
/// fn describe(response: &http::Response<()>) -> &'static str {
///     match response.extensions().get::<Replayed>() {
///         Some(Replayed::Yes) => "sent again with another token",
///         Some(Replayed::No(NotReplayed::BreakerOpen)) => "this API rejects fresh tokens",
///         Some(_) => "rejected and not sent again",
///         None => "not rejected",
///     }
/// }
/// # assert_eq!(describe(&http::Response::new(())), "not rejected");
/// ```
#[doc(alias("retried", "401", "unauthorized"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Replayed {
    /// The request was resent, and this is the response to the last send.
    Yes,
    /// The request was not resent; this response rejected its token.
    No(NotReplayed),
}

/// Says why a request was not resent.
///
/// # Example
///
/// See [`Replayed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotReplayed {
    /// The body could not be sent again.
    ///
    /// The next request gets another token.
    Body,
    /// The API rejected the DPoP proof, and a new proof would be no better.
    ///
    /// The proof already had the newest nonce (RFC 9449 section 9).
    Proof,
    /// The API has just rejected a fresh token, so another token would be no better.
    BreakerOpen,
    /// The API requires claims, and the token endpoint has refused to issue tokens with them.
    ClaimsRefused,
    /// The token is fixed, so there is no other one
    /// ([`Tokens::fixed`](crate::Tokens::fixed)).
    FixedToken,
}
