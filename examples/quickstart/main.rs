//! Sends requests with access tokens. The token endpoint and the API listen on loopback. Each step
//! prints how many requests were sent, and how many the rules promise.

mod steps;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tower::limit::{ConcurrencyLimit, ConcurrencyLimitLayer};
use tower::timeout::{Timeout, TimeoutLayer};
use tower::{BoxError, ServiceBuilder};
use tower_oauth2::{ClientAuth, Credentials, OAuth2, OAuth2Layer, Origins, TokenEndpoint, Tokens};

use crate::support::issuer::{CLIENT_ID, CLIENT_SECRET};
use crate::support::report;

type Http = ConcurrencyLimit<Client<HttpConnector, Full<Bytes>>>;
type ApiClient = Timeout<OAuth2<Http>>;

/// Creates a client that sends requests to `api` with a token from `token_endpoint`.
fn client(token_endpoint: &str, api: &str) -> Result<ApiClient, BoxError> {
    // The API and the token endpoint share one HTTP client and its concurrency limit.
    let http = ServiceBuilder::new()
        .layer(ConcurrencyLimitLayer::new(32))
        .service(Client::builder(TokioExecutor::new()).build_http());

    let credentials = Credentials::new(
        token_endpoint,
        ClientAuth::client_secret_basic(CLIENT_ID, CLIENT_SECRET),
    )?;
    let tokens = Tokens::new(credentials, TokenEndpoint::new(http.clone()));

    Ok(ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(30)))
        .layer(OAuth2Layer::new(tokens, Origins::only([api])?))
        .service(http))
}

#[tokio::main]
async fn main() -> ExitCode {
    report::conclude(steps::run().await)
}
