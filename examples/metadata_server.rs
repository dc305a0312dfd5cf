//! Tokens from a metadata server, as virtual machines in a cloud have one: whoever runs on the machine gets the token
//! of its account, so there are no credentials at all.
//!
//! All of it is one function from `TokenRequest` to `AccessToken`. What is around it is what every source has: single
//! flight, renewal, back-off, replay.

mod support;

use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tower::timeout::TimeoutLayer;
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
use tower_oauth2::{AccessToken, Credentials, OAuth2, OAuth2Layer, Origins, TokenRequest, Tokens};

use crate::support::grants::Grants;
use crate::support::issuer::Issuer;
use crate::support::report::{self, Report, Wire};

type Http = legacy::Client<HttpConnector, Full<Bytes>>;

/// Requests a token of the machine's account.
async fn from_metadata_server(http: Http, uri: Uri) -> Result<AccessToken, BoxError> {
    let requested_at = tokio::time::Instant::now();
    let request = Request::get(uri).header("metadata-flavor", "Google").body(Full::default())?;
    let response = http.oneshot(request).await?;
    if response.status() != StatusCode::OK {
        return Err(format!("the metadata server answered with {}", response.status()).into());
    }
    let body = Limited::new(response.into_body(), 64 * 1024).collect().await?.to_bytes();
    let answer: Value = serde_json::from_slice(&body).map_err(|_| "the answer is no JSON")?;
    let token = answer["access_token"].as_str().ok_or("the answer has no token")?;
    let expires_in = answer["expires_in"].as_u64().ok_or("the answer has no end")?;
    Ok(AccessToken::new(token)?
        .with_expires_in(Duration::from_secs(expires_in))
        .with_age(requested_at.elapsed()))
}

fn client(metadata_server: &str, api: &str) -> Result<OAuth2<Http>, BoxError> {
    let http: Http = legacy::Client::builder(TokioExecutor::new()).build_http();
    // In production: http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/token
    let (for_source, uri) = (http.clone(), metadata_server.parse::<Uri>()?);
    let source = ServiceBuilder::new().layer(TimeoutLayer::new(Duration::from_secs(5))).service(
        service_fn(move |_: TokenRequest| from_metadata_server(for_source.clone(), uri.clone())),
    );
    let tokens = Tokens::new(Credentials::named("metadata server"), source);
    let layer = OAuth2Layer::new(tokens, Origins::only([api])?);
    Ok(ServiceBuilder::new().layer(layer).service(http))
}

#[tokio::main]
async fn main() -> ExitCode {
    report::conclude(run().await)
}

async fn run() -> Result<Report, BoxError> {
    let issuer = Issuer::new();
    let grants = Grants::new(&issuer);
    // The header shows that it is no browser that was led astray.
    let metadata_server = grants
        .serve(|head, _| match head.headers.contains_key("metadata-flavor") {
            true => Ok(("the machine".to_owned(), json!({}))),
            false => Err("invalid_request"),
        })
        .await?;
    let api = grants.serve_api().await?;
    println!("metadata server {metadata_server}, API {api}");
    let mut report = Report::new(&issuer);
    let client = client(&metadata_server, &api)?;

    report.begin("Three calls");
    for _ in 0..3 {
        report.expect("the token is the machine's", is_the_machines(&client, &api).await?);
    }
    let wire = Wire { api: 3, rejected: 0, token_endpoint: 1 };
    report.end(wire, "C2: one token request, however many calls");

    report.begin("A call with a token that was revoked");
    issuer.revoke_all();
    report.expect("it is answered all the same", is_the_machines(&client, &api).await?);
    let wire = Wire { api: 2, rejected: 1, token_endpoint: 1 };
    report.end(wire, "R1: one replay with a fresh token");
    Ok(report)
}

async fn is_the_machines(client: &OAuth2<Http>, api: &str) -> Result<bool, BoxError> {
    let request = Request::get(format!("{api}/things")).body(Full::default())?;
    let response = client.clone().oneshot(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok(status == StatusCode::OK && body == "the machine")
}
