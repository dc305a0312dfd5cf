//! Adds tokens to the requests of reqwest.
//!
//! - [`AuthorizedClient`] sends the requests that a [`reqwest::RequestBuilder`] has built.
//! - `OAuth2Middleware` (feature `reqwest-middleware`) keeps `client.get(url).send()`.
//! - [`ReqwestService`] is for custom stacks of tower layers.
//! - [`TokenEndpoint::new`](crate::TokenEndpoint::new) and
//!   [`Metadata::fetch`](crate::metadata::Metadata::fetch) accept a `reqwest::Client`.
//!
//! The [guide](crate::guide::reqwest) has examples for tenants and errors, and describes timeouts,
//! streams and redirects.
//!
//! [`reqwest::RequestBuilder`]: https://docs.rs/reqwest/latest/reqwest/struct.RequestBuilder.html

mod body;
mod client;
mod conversion;
mod endpoint;
#[cfg(feature = "reqwest-middleware")]
mod middleware;
mod service;

pub use self::client::AuthorizedFuture;
pub use self::endpoint::ReqwestClient;
pub use self::service::{ReqwestFuture, ReqwestService};

// Rustdoc's search finds an alias at a `pub use`, and not at a definition in a private module.
#[doc(alias("bearer", "interceptor", "middleware"))]
#[doc(alias("reqwest", "bearer_auth", "authenticated client"))]
pub use self::client::AuthorizedClient;
#[cfg(feature = "reqwest-middleware")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest-middleware")))]
#[doc(alias("bearer", "interceptor", "reqwest-middleware"))]
pub use self::middleware::OAuth2Middleware;
