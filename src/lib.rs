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
mod cache;
mod challenge;
mod client_auth;
mod clock;
mod credentials;
mod dpop;
mod endpoint;
mod error;
mod error_response;
mod grant;
pub mod guide;
#[cfg(feature = "jwt")]
mod jwt;
mod liveness;
mod meter;
mod oauth2;
mod origin;
mod printable;
mod race;
mod refresh_token;
mod replay;
mod request;
mod runtime;
mod secret;
mod server_clock;
mod store;
mod takeover_lock;
mod token;

pub use self::backoff::Backoff;
pub use self::cache::{TokenCache, TokenCacheBuilder};
#[cfg(feature = "jwt")]
pub use self::client_auth::{AssertionKey, ClientSecretJwt, PrivateKeyJwt};
pub use self::client_auth::{ClientAssertion, ClientAuth, ClientAuthentication, TokenRequestParts};
pub use self::credentials::ClientCredentials;
#[cfg(feature = "jwt")]
pub use self::dpop::DpopKey;
pub use self::endpoint::{Metadata, MetadataBuilder, TokenEndpoint, TokenRetry, WellKnown};
pub use self::error::{ConfigError, TokenError, TokenErrorKind};
pub use self::error_response::{ErrorResponseFuture, TokenErrorResponse, TokenErrorResponseLayer};
#[cfg(feature = "jwt")]
pub use self::grant::JwtBearer;
pub use self::grant::{Refresh, RefreshTokenLayer, TokenExchange};
#[cfg(feature = "jwt")]
pub use self::jwt::{Algorithm, KeyFile, Signer, SigningKey};
pub use self::oauth2::{NoToken, OAuth2, OAuth2Layer, ResponseFuture};
pub use self::origin::Origins;
pub use self::refresh_token::{RefreshToken, RotatedToken};
pub use self::replay::{
    KeptBody, NotReplayed, ReplayBody, ReplayPolicy, Replayable, ReplayableBody, ReplayableLayer,
    Replayed,
};
pub use self::request::{Cause, TokenRequest};
pub use self::secret::Secret;
#[cfg(feature = "memcached")]
pub use self::store::MemcachedStore;
#[cfg(feature = "redis")]
pub use self::store::RedisStore;
pub use self::store::{MemoryStore, Store, StoreLayer, Stored, TokenStore, ValueNotAccepted};
#[cfg(feature = "sealed")]
pub use self::store::{SealKey, Sealed};
pub use self::token::AccessToken;
