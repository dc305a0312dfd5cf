//! Implements HTTP and OAuth rules that several modules apply.
//!
//! They are about origins, challenges, clocks, JSON and bodies.

pub(crate) mod body;
pub(crate) mod challenge;
pub(crate) mod dpop;
pub(crate) mod headers;
pub(crate) mod http_client;
pub(crate) mod json;
pub(crate) mod origin;
pub(crate) mod origins;
pub(crate) mod request_secrets;
pub(crate) mod retry_after;
pub(crate) mod server_clock;
