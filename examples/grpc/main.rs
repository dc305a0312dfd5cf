//! gRPC calls over a tonic channel, each with a token: unary and streaming ones, against a tonic
//! server that refuses calls without a valid token as `UNAUTHENTICATED`.

mod server;
mod steps;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tower::util::MapRequest;
use tower::{BoxError, ServiceBuilder};
use tower_oauth2::replay::{ReplayBody, ReplayPolicy, Replayable, ReplayableLayer};
use tower_oauth2::{ClientAuth, Credentials, OAuth2, OAuth2Layer, Origins, TokenEndpoint, Tokens};

/// What takes the place of a [`Channel`] in generated clients.
type AuthorizedChannel = Replayable<OAuth2<MapRequest<Channel, IntoTonic>>>;

type IntoTonic = fn(Request<ReplayBody<Body>>) -> Request<Body>;

fn channel(tokens: Tokens, api: &str) -> Result<AuthorizedChannel, BoxError> {
    Ok(ServiceBuilder::new()
        // tonic's bodies are streams: they are remembered as they go out.
        .layer(ReplayableLayer::new())
        .layer(
            OAuth2Layer::new(tokens, Origins::only([api])?)
                .replay_policy(ReplayPolicy::grpc_unauthenticated()),
        )
        // A channel takes tonic's own body and no other.
        .map_request((|request| request.map(Body::new)) as IntoTonic)
        .service(Endpoint::from_shared(api.to_owned())?.connect_lazy()))
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
