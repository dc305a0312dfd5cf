//! Shows a client with the methods of a session: `client.get(url).send()`, with JSON in and out.
//! Each request is sent with a token.
//!
//! The methods are those of `tower-http-client`, which adds them to every tower service that is an
//! HTTP client, with or without layers.

mod support;

use std::process::ExitCode;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::Full;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tower::{BoxError, ServiceBuilder};
use tower_http_client::{ResponseExt, ServiceExt};
use tower_oauth2::replay::Replayed;
use tower_oauth2::service::{TokenErrorResponse, TokenErrorResponseLayer};
use tower_oauth2::{
    ClientAuth, Credentials, OAuth2, OAuth2Layer, Origins, TokenEndpoint, TokenError, Tokens,
};

use crate::support::api::{Api, Digest};
use crate::support::issuer::{CLIENT_ID, CLIENT_SECRET, Issuer};
use crate::support::report::{self, Report, Wire};
use crate::support::server;

type Session = TokenErrorResponse<OAuth2<legacy::Client<HttpConnector, Full<Bytes>>>>;

fn session(token_endpoint: &str, secret: &str, api: &str) -> Result<Session, BoxError> {
    let http = legacy::Client::builder(TokioExecutor::new()).build_http();
    let auth = ClientAuth::client_secret_basic(CLIENT_ID, secret);
    let credentials = Credentials::new(token_endpoint, auth)?;
    let tokens = Tokens::new(credentials, TokenEndpoint::new(http.clone()));
    Ok(ServiceBuilder::new()
        // If no token is available, the caller gets the token endpoint's response.
        .layer(TokenErrorResponseLayer::new())
        .layer(OAuth2Layer::new(tokens, Origins::only([api])?))
        .service(http))
}

#[tokio::main]
async fn main() -> ExitCode {
    report::conclude(run().await)
}

async fn run() -> Result<Report, BoxError> {
    let issuer = Issuer::new();
    let token_endpoint = issuer.serve().await?;
    let api = Api::new(&issuer);
    let origin = server::serve(api.clone()).await?;
    println!("token endpoint {token_endpoint}, API {origin}");

    let mut report = Report::new(&issuer);
    let url = format!("{origin}/people/1");
    let alf = json!({ "name": "Alf" });
    let mut client = session(&token_endpoint, CLIENT_SECRET, &origin)?;

    report.begin("PUT, GET, DELETE, GET");
    let put = client.put(&url).json(&alf)?.send().await?;
    report.expect("PUT returns 200", put.status() == StatusCode::OK);
    let person: Value = client.get(&url).send().await?.body_reader().json().await?;
    report.expect("GET returns the JSON that was put", person == alf);
    let delete = client.delete(&url).send().await?;
    report.expect("DELETE returns 200", delete.status() == StatusCode::OK);
    let get = client.get(&url).send().await?;
    report.expect("after that, GET returns 404", get.status() == StatusCode::NOT_FOUND);
    let wire = Wire { api: 4, rejected: 0, token_endpoint: 1 };
    report.end(wire, "C1, C2: one token request, however many calls");

    report.begin("PUT with a token that was revoked");
    issuer.revoke_all();
    let put = client.put(&url).json(&alf)?.send().await?;
    report.expect("the caller gets 200", put.status() == StatusCode::OK);
    report.expect("the request was replayed", put.extensions().get() == Some(&Replayed::Yes));
    let is_intact = api.bodies().ends_with(&[Digest::of([alf.to_string()]); 2]);
    report.expect("the whole JSON arrived both times", is_intact);
    let wire = Wire { api: 2, rejected: 1, token_endpoint: 1 };
    report.end(wire, "R1, R3: one replay, byte for byte, with a fresh token");

    report.begin("GET with a wrong client secret");
    let mut stranger = session(&token_endpoint, "a guess", &origin)?;
    let get = stranger.get(&url).send().await?;
    report.expect("the caller gets 401", get.status() == StatusCode::UNAUTHORIZED);
    let is_told = get.extensions().get::<TokenError>().is_some();
    report.expect("the response says that it is the token endpoint's", is_told);
    let answer: Value = get.body_reader().json().await?;
    report
        .expect("its body is the token endpoint's", answer == json!({ "error": "invalid_client" }));
    let wire = Wire { api: 0, rejected: 0, token_endpoint: 1 };
    report.end(wire, "W6: without a token, nothing is sent to the API");

    Ok(report)
}
