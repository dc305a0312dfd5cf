// Of two places for one name, the first counts: the README's is a file of the repository.
#![doc = concat!("[flow]: data:image/svg+xml;base64,", include_str!("guide/flow.base64"))]
#![doc = ""]
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

// `races/` compiles these sources over locks and atomics that run threads in many orders.
#[cfg(races)]
extern crate races_std as std;

mod backoff;
pub mod cache;
mod challenge;
pub mod client_auth;
mod clock;
mod credentials;
mod dpop;
mod endpoint;
mod error;
mod error_response;
pub mod grant;
pub mod guide;
#[cfg(feature = "jwt")]
pub mod jwt;
mod liveness;
mod meter;
mod oauth2;
mod origin;
mod printable;
mod race;
mod refresh_token;
pub mod replay;
mod request;
mod runtime;
mod secret;
mod server_clock;
pub mod store;
mod takeover_lock;
mod token;

pub use self::cache::TokenCache;
pub use self::client_auth::ClientAuth;
pub use self::credentials::Credentials;
pub use self::endpoint::TokenEndpoint;
pub use self::error::{ConfigError, TokenError, TokenErrorKind};
pub use self::oauth2::{NoToken, OAuth2, OAuth2Layer};
pub use self::origin::Origins;
pub use self::request::TokenRequest;
pub use self::secret::Secret;
pub use self::token::AccessToken;
pub use tower::BoxError;

/// Sources of tokens: what they are asked, and how to retry them.
pub mod source {
    pub use crate::backoff::Backoff;
    pub use crate::endpoint::TokenRetry;
    pub use crate::grant::refresh::{Refresh, RefreshTokenLayer};
    pub use crate::request::Cause;
}

/// Authorization server metadata (RFC 8414).
pub mod metadata {
    pub use crate::endpoint::{Metadata, MetadataBuilder, WellKnown};
}

/// The parts of the middleware that callers rarely name.
pub mod service {
    pub use crate::error_response::{
        ErrorResponseFuture, TokenErrorResponse, TokenErrorResponseLayer,
    };
    pub use crate::oauth2::ResponseFuture;
}
