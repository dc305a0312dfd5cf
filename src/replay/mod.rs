//! Says which responses reject a token, and makes bodies that can be sent again. [The
//! guide](crate::guide::streaming) has an example.

mod body;
mod drain;
mod drained_body;
mod layer;
mod memory;
mod policy;
mod replay_body;
mod stream;

pub use self::body::ReplayableBody;
pub use self::drain::{Drain, DrainFuture, DrainLayer};
pub use self::drained_body::DrainedBody;
pub use self::layer::{Replayable, ReplayableLayer};
pub(crate) use self::policy::Recipient;
pub use self::policy::ReplayPolicy;
pub use self::replay_body::{KeptBody, ReplayBody};

/// Says whether a request whose token was rejected was sent again.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Replayed {
    /// The request was sent again with another token, and this is the response to the last send.
    Yes,
    /// The request was not sent again, and this is the response that rejected its token.
    No(NotReplayed),
}

/// Says why a request was not sent again.
///
/// # Example
///
/// See [`Replayed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotReplayed {
    /// The body could not be sent again. The next request gets another token.
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
