// The first definition of a link counts. The README's own ones lead to the latest release.
#![doc = concat!("[flow]: data:image/svg+xml;base64,", include_str!("guide/flow.base64"))]
#![doc = include_str!("guide/readme_links.md")]
// The test `readme` compiles the code of the README.
#![cfg_attr(not(doctest), doc = include_str!("../README.md"))]
//!
//! ## Where to find what
//!
//! - **Description of a token:** [`Credentials`] with a [`ClientAuth`] and a [`Secret`]. The module
//!   [`grant`] has the grants, and [`metadata`] discovers an issuer's token endpoint. The module
//!   [`jwt`](jwt/index.html) signs JWTs and DPoP proofs, and [`config`](config/index.html) reads
//!   credentials from files.
//! - **Tokens:** [`Tokens`] and [`TokenCache`] hand out each [`AccessToken`] as a [`CachedToken`],
//!   over a [`TokenEndpoint`] or another [`source`]. The module [`store`] shares tokens between
//!   processes.
//! - **Requests with a token:** [`OAuth2Layer`] makes the service [`OAuth2`], which sends tokens to
//!   the [`Origins`] that you list. [`RequestExt`] and [`NoToken`] set the tokens of a single
//!   request. The module [`replay`] says when and how a request is resent, and [`service`] has the
//!   other layers and types. The modules [`http_client`](http_client/index.html) and
//!   [`grpc`](grpc/index.html) are for reqwest and tonic.
//! - **Errors:** [`TokenError`] with its [`TokenErrorKind`], and [`ConfigError`] for settings.
//! - **Tests:** [`testing`](testing/index.html) has test doubles.
//! - **Guide:** the module [`guide`] has tutorials, how-to pages, explanations and reference pages.
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

#[doc(inline)]
pub use self::cache::{CachedToken, TokenCache, Tokens};
#[doc(inline)]
pub use self::client_auth::ClientAuth;
pub use self::credentials::request::TokenRequest;
pub use self::error::{ConfigError, TokenErrorKind};
pub use tower::BoxError;

// Rustdoc's search finds an alias at a `pub use`, and not at a definition in a private module.
#[doc(alias("client credentials", "client_id", "client_secret"))]
#[doc(alias("machine-to-machine", "m2m", "two-legged"))]
#[doc(alias("service account", "RFC 6749"))]
pub use self::credentials::Credentials;
#[doc(alias("authorization server", "identity provider", "IdP"))]
#[doc(alias("token_url", "client credentials", "RFC 6749"))]
pub use self::endpoint::TokenEndpoint;
#[doc(alias("OAuth2Error", "error_description"))]
#[doc(alias("invalid_client", "invalid_grant"))]
pub use self::error::TokenError;
#[doc(alias("anonymous", "skip"))]
pub use self::oauth2::NoToken;
#[doc(alias("middleware", "interceptor", "bearer", "401"))]
#[doc(alias("unauthorized", "retry", "RFC 6750"))]
pub use self::oauth2::OAuth2;
#[doc(alias("bearer", "interceptor", "middleware", "AuthLayer"))]
#[doc(alias("Authorization", "access token", "client credentials"))]
pub use self::oauth2::OAuth2Layer;
#[doc(alias("tenant", "extensions"))]
pub use self::oauth2::RequestExt;
#[doc(alias("allowlist", "host", "audience"))]
pub use self::protocol::origins::Origins;
#[doc(alias("client secret", "client_secret", "password"))]
#[doc(alias("SecretString", "redact"))]
pub use self::secret::Secret;
#[doc(alias("bearer", "bearer token", "token response", "RFC 6750"))]
pub use self::token::AccessToken;

/// Describes the authorizations that token requests are based on (RFC 6749 section 1.3).
///
/// Pass one of them to [`Credentials::grant`]. [`Grant`] itself has the client credentials grant,
/// which is the default, and custom grants. There is a type for each of the other grants:
/// [`JwtBearer`](grant::JwtBearer), [`TokenExchange`](grant::TokenExchange) and
/// [`RefreshToken`](grant::RefreshToken).
///
/// [`Grant`]: grant::Grant
#[doc(alias("grant_type", "authorization grant"))]
pub mod grant {
    pub use crate::credentials::grant::RotatedToken;

    #[doc(alias("client credentials", "grant_type"))]
    #[doc(alias("authorization grant", "RFC 6749"))]
    pub use crate::credentials::grant::Grant;
    #[doc(alias("service account", "domain-wide delegation"))]
    #[doc(alias("RFC 7523", "urn:ietf:params:oauth:grant-type:jwt-bearer"))]
    pub use crate::credentials::grant::JwtBearer;
    #[doc(alias("refresh", "offline_access", "rotation"))]
    #[doc(alias("rotating", "authorization code", "RFC 6749"))]
    pub use crate::credentials::grant::RefreshToken;
    #[doc(alias("token exchange", "on behalf of", "on-behalf-of", "obo"))]
    #[doc(alias("delegation", "impersonation", "STS", "RFC 8693"))]
    pub use crate::credentials::grant::TokenExchange;
    #[doc(alias("subject_token_type", "requested_token_type"))]
    pub use crate::credentials::grant::TokenType;
}

/// Describes sources of tokens, their requests and their retries.
///
/// - [`TokenSource`](source::TokenSource) names the services that a [`TokenCache`] can fetch from.
///   [`Cause`](source::Cause) says why a token is requested.
/// - [`TokenRetry`](source::TokenRetry) and [`Backoff`](source::Backoff) are settings of retries and
///   pauses.
/// - `SelfSigned` (feature `jwt`) is a source of tokens that are JWTs.
/// - [`HttpClient`](source::HttpClient) names the clients that a [`TokenEndpoint`] can use.
pub mod source {
    pub use crate::cache::source::TokenSource;
    pub use crate::credentials::request::Cause;
    #[cfg(races)]
    pub use crate::endpoint::refresh::Refresh;
    pub use crate::protocol::http_client::{HttpClient, TowerClient};
    pub use crate::util::backoff::Backoff;
    pub use crate::util::one_or_many::OneOrMany;

    #[cfg(feature = "jwt")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwt")))]
    #[doc(alias("GitHub App", "service account", "self-signed JWT"))]
    pub use crate::endpoint::SelfSigned;
    #[doc(alias("backoff", "Retry-After"))]
    pub use crate::endpoint::TokenRetry;
}

/// Provides the parts of the middleware that callers rarely name.
///
/// - [`NoTokenSent`](service::NoTokenSent) in the extensions of a response says why its request had no
///   token.
/// - [`TokenErrorResponseLayer`](service::TokenErrorResponseLayer) turns token errors into responses.
/// - [`HttpService`](service::HttpService) and [`InnerService`](service::InnerService) name the
///   services that an [`OAuth2Layer`] can wrap.
/// - [`ResponseFuture`](service::ResponseFuture) is the future of an [`OAuth2`] service.
pub mod service {
    pub use crate::oauth2::{
        ErrorResponseFuture, HttpService, InnerService, NoTokenSent, ResponseFuture,
        TokenErrorResponse,
    };

    #[doc(alias("IntoResponse", "alf"))]
    pub use crate::oauth2::TokenErrorResponseLayer;
}
