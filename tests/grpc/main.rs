//! The channel for generated gRPC clients, over a server in the same process.
#![allow(unreachable_pub, missing_docs)]

mod calls;
mod deadlines;
mod server;
mod statuses;
mod tenants;

use std::time::Duration;

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower_oauth2::grpc::AuthorizedChannel;
use tower_oauth2::testing::{Reply, ScriptedEndpoint};
use tower_oauth2::{OAuth2Layer, Origins, Tokens};
use tower_oauth2_testkit::{credentials, single_try};

use crate::server::Server;

type Channel = AuthorizedChannel<Server>;

/// Returns a token endpoint with tokens `token-<n>` for an hour.
fn endpoint() -> ScriptedEndpoint {
    ScriptedEndpoint::new(|n| {
        Reply::token(format!("token-{n}")).expires_in(Duration::from_secs(3600))
    })
}

/// Returns tokens of an endpoint that does not retry.
fn tokens(endpoint: &ScriptedEndpoint) -> Tokens {
    Tokens::new(credentials(), single_try(endpoint.clone()))
}

fn layer(endpoint: &ScriptedEndpoint) -> OAuth2Layer {
    OAuth2Layer::new(tokens(endpoint), Origins::only("https://api.test").unwrap())
}

fn channel(server: &Server, endpoint: &ScriptedEndpoint) -> Channel {
    AuthorizedChannel::new(server.clone(), layer(endpoint))
}

fn health(channel: Channel) -> HealthClient<Channel> {
    HealthClient::with_origin(channel, "https://api.test".parse().unwrap())
}

fn check() -> HealthCheckRequest {
    HealthCheckRequest::default()
}
