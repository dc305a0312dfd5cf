//! Sends unary and streaming gRPC calls with tokens over a tonic channel. The tonic server answers
//! calls without a valid token with `UNAUTHENTICATED`.

mod server;
mod steps;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tonic::transport::Endpoint;
use tower::BoxError;
use tower_oauth2::grpc::AuthorizedChannel;
use tower_oauth2::{ClientAuth, Credentials, OAuth2Layer, Origins, TokenEndpoint, Tokens};

fn channel(tokens: Tokens, api: &str) -> Result<AuthorizedChannel, BoxError> {
    let channel = Endpoint::from_shared(api.to_owned())?.connect_lazy();
    Ok(AuthorizedChannel::new(channel, OAuth2Layer::new(tokens, Origins::only(api)?)))
}

fn tokens(token_endpoint: &str, client_secret: &str) -> Result<Tokens, BoxError> {
    let http: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    let credentials = Credentials::new(
        token_endpoint,
        ClientAuth::client_secret_basic(support::issuer::CLIENT_ID, client_secret),
    )?;
    Ok(Tokens::new(credentials, TokenEndpoint::new(http)))
}

#[tokio::main]
async fn main() -> ExitCode {
    support::report::conclude(steps::run().await)
}
