//! Tests the requests to a token endpoint, and the results of its responses.

mod causes;
mod dialect;
mod error_response;
mod errors;
mod http_client;
mod request;
mod response;
mod retry;
mod timeout;
