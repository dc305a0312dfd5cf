//! Provides test doubles for code that uses this crate.
//!
//! - [`ScriptedSource`]: a source of tokens without HTTP.
//! - [`ScriptedEndpoint`]: the HTTP client of a token endpoint, for a real
//!   [`TokenEndpoint`](crate::TokenEndpoint). It answers with scripted [`Reply`]s.
//! - [`RejectTokensLayer`]: lets an API reject given tokens.
//! - [`Tokens::fixed`](crate::Tokens::fixed), which needs no feature: tokens that are always the
//!   same.
//!
//! The doubles open no connection, and delays use tokio's clock, which a test can pause. Their
//! `Debug` output shows no token and no secret.
//!
//! The [guide](crate::guide::testing) has recipes. The feature `testing` has no dependencies.
//! Enable it for tests only:
//!
//! ```toml
//! [dev-dependencies]
//! tower-oauth2 = { version = "0.1", features = ["testing"] }
//! ```

mod endpoint;
mod recorded_request;
mod reject_tokens;
mod reply;
mod source;

pub use self::recorded_request::RecordedRequest;
pub use self::reject_tokens::{RejectTokens, RejectTokensFuture};
pub use self::reply::Reply;

// Rustdoc's search finds an alias at a `pub use`, and not at a definition in a private module.
#[doc(alias("mock", "fake", "stub", "wiremock"))]
pub use self::endpoint::ScriptedEndpoint;
#[doc(alias("mock", "401", "revoke"))]
pub use self::reject_tokens::RejectTokensLayer;
#[doc(alias("mock", "fake", "stub"))]
pub use self::source::ScriptedSource;
