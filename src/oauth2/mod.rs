//! The layer that sends each request with a token, and resends it if the token is rejected.

mod admission;
mod attempt;
mod authorization;
mod config;
mod decision;
mod echoing_method;
mod error_response;
mod future;
mod history;
mod layer;
mod no_token;
mod outgoing;
mod pending_send;
mod progress;
mod service;
mod service_template;
mod snapshot;
mod state;
mod target;

pub use self::error_response::{ErrorResponseFuture, TokenErrorResponse, TokenErrorResponseLayer};
pub use self::future::ResponseFuture;
pub use self::layer::OAuth2Layer;
pub use self::no_token::NoToken;
pub use self::service::OAuth2;
