//! Sends each request with a token, and resends it after a rejection.

mod admission;
mod attempt;
mod authorization;
mod config;
mod custom_header;
mod deadline;
mod decision;
mod earlier_sends;
mod echoing_method;
mod error_response;
mod future;
mod grpc_timeout;
mod http_service;
mod layer;
mod no_token_sent;
mod outgoing;
mod pending_send;
mod progress;
mod request_ext;
mod service;
mod service_template;
mod snapshot;
mod state;
mod target;

#[cfg(feature = "tonic")]
pub(crate) use self::deadline::CallTimeout;
#[cfg(feature = "reqwest")]
pub(crate) use self::deadline::Deadline;
pub use self::error_response::{ErrorResponseFuture, TokenErrorResponse, TokenErrorResponseLayer};
pub use self::future::ResponseFuture;
pub use self::http_service::{HttpService, InnerService};
pub use self::layer::OAuth2Layer;
pub use self::no_token_sent::NoTokenSent;
#[cfg(any(feature = "reqwest", feature = "tonic"))]
pub(crate) use self::request_ext::add_tokens;
pub use self::request_ext::{NoToken, RequestExt};
pub use self::service::OAuth2;
