// The first definition of a link counts. The README's own ones lead to the latest release.
#![doc = concat!("[flow]: data:image/svg+xml;base64,", include_str!("guide/flow.base64"))]
#![doc = include_str!("guide/readme_links.md")]
// The test `readme` compiles the code of the README.
#![cfg_attr(not(doctest), doc = include_str!("../README.md"))]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

// `races/` compiles these sources over locks and atomics that run threads in many orders.
#[cfg(races)]
extern crate races_std as std;

pub mod cache;
pub mod client_auth;
#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
pub mod config;
mod credentials;
#[cfg(any(feature = "encryption", feature = "jwt"))]
mod crypto;
mod endpoint;
mod error;
#[cfg(feature = "tonic")]
#[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
pub mod grpc;
pub mod guide;
#[cfg(feature = "reqwest")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest")))]
pub mod http_client;
#[cfg(feature = "jwt")]
pub mod jwt;
pub mod metadata;
mod metrics;
mod oauth2;
mod protocol;
pub mod replay;
mod secret;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod token;
mod util;

pub use self::cache::{CachedToken, TokenCache, Tokens};
pub use self::client_auth::ClientAuth;
pub use self::credentials::Credentials;
pub use self::credentials::request::TokenRequest;
pub use self::endpoint::TokenEndpoint;
pub use self::error::{ConfigError, TokenError, TokenErrorKind};
pub use self::oauth2::{NoToken, OAuth2, OAuth2Layer, RequestExt};
pub use self::protocol::origins::Origins;
pub use self::secret::Secret;
pub use self::token::AccessToken;
pub use tower::BoxError;

/// Grants: the authorizations that token requests are based on (RFC 6749 section 1.3).
pub mod grant {
    pub use crate::credentials::grant::{
        Grant, JwtBearer, RefreshToken, RotatedToken, TokenExchange, TokenType,
    };
}

/// Sources of tokens: their requests, and the settings of their retries.
pub mod source {
    pub use crate::cache::source::TokenSource;
    pub use crate::credentials::request::Cause;
    #[cfg(feature = "jwt")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwt")))]
    pub use crate::endpoint::SelfSigned;
    pub use crate::endpoint::TokenRetry;
    #[cfg(races)]
    pub use crate::endpoint::refresh::Refresh;
    pub use crate::protocol::http_client::{HttpClient, TowerClient};
    pub use crate::util::backoff::Backoff;
    pub use crate::util::one_or_many::OneOrMany;
}

/// The parts of the middleware that callers rarely name.
pub mod service {
    pub use crate::oauth2::{
        ErrorResponseFuture, HttpService, InnerService, NoTokenSent, ResponseFuture,
        TokenErrorResponse, TokenErrorResponseLayer,
    };
}
