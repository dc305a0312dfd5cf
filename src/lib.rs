#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backoff;
mod cache;
mod challenge;
mod client_auth;
mod credentials;
mod endpoint;
mod error;
mod error_response;
mod future;
pub mod guide;
mod layer;
mod origin;
mod replay;
mod request;
mod service;
mod shared;
mod store;
mod token;

pub use self::backoff::Backoff;
pub use self::cache::{TokenCache, TokenCacheBuilder};
pub use self::client_auth::{ClientAuth, ClientAuthentication, TokenRequestParts};
pub use self::credentials::ClientCredentials;
pub use self::endpoint::{TokenEndpoint, TokenRetry};
pub use self::error::{ConfigError, TokenError, TokenErrorKind};
pub use self::error_response::{ErrorResponseFuture, TokenErrorResponse, TokenErrorResponseLayer};
pub use self::future::ResponseFuture;
pub use self::layer::OAuth2Layer;
pub use self::origin::Origins;
pub use self::replay::{
    KeptBody, NotReplayed, ReplayBody, ReplayPolicy, Replayable, ReplayableBody, ReplayableLayer,
    Replayed,
};
pub use self::request::{Cause, TokenRequest};
pub use self::service::OAuth2;
pub use self::shared::NoToken;
pub use self::store::{MemoryStore, Store, StoreLayer, Stored, TokenStore};
#[cfg(feature = "sealed")]
pub use self::store::{SealKey, Sealed};
pub use self::token::AccessToken;
