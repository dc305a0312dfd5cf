//! The token endpoint, on the wire and above it.

mod error_response;
mod errors;
mod request;
mod response;
mod retry;
mod timeout;
