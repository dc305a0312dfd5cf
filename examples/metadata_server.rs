//! Gets tokens from the metadata server of a cloud's virtual machine. The program needs no
//! credentials: it gets a token for the machine's service account.
//!
//! The source is one function that returns an `AccessToken`. Like every source, it gets single
//! flight, renewal, back-off and replay from the cache and the layer.

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

/// Requests a token for the machine's service account.
async fn from_metadata_server(http: Http, uri: Uri) -> Result<AccessToken, BoxError> {
    let requested_at = tokio::time::Instant::now();
    let request = Request::get(uri).header("metadata-flavor", "Google").body(Full::default())?;
    let response = http.oneshot(request).await?;
    if response.status() != StatusCode::OK {
        return Err(format!("metadata server responded with {}", response.status()).into());
    }
    let body = Limited::new(response.into_body(), 64 * 1024).collect().await?.to_bytes();
    let answer: Value =
        serde_json::from_slice(&body).map_err(|_| "metadata server's response is not JSON")?;
    let token =
        answer["access_token"].as_str().ok_or("metadata server's response has no access_token")?;
    let expires_in =
        answer["expires_in"].as_u64().ok_or("metadata server's response has no expires_in")?;
    Ok(AccessToken::new(token)?
        .with_expires_in(Duration::from_secs(expires_in))
        .with_age(requested_at.elapsed()))
}

fn client(metadata_server: &str, api: &str) -> Result<OAuth2<Http>, BoxError> {
    let http: Http = legacy::Client::builder(TokioExecutor::new()).build_http();
    // In production, the host is 169.254.169.254 and the path
    // /computeMetadata/v1/instance/service-accounts/default/token.
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
    // Like real metadata servers, this one requires a header as a protection against server-side
    // request forgery.
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
        report.expect("the API sees the machine's token", call_is_accepted(&client, &api).await?);
    }
    let wire = Wire { api: 3, rejected: 0, token_endpoint: 1 };
    report.end(wire, "C2: one token request, however many calls");

    report.begin("A call with a token that was revoked");
    issuer.revoke_all();
    report.expect("the caller gets 200", call_is_accepted(&client, &api).await?);
    let wire = Wire { api: 2, rejected: 1, token_endpoint: 1 };
    report.end(wire, "R1: one replay with a fresh token");
    Ok(report)
}

async fn call_is_accepted(client: &OAuth2<Http>, api: &str) -> Result<bool, BoxError> {
    let request = Request::get(format!("{api}/things")).body(Full::default())?;
    let response = client.clone().oneshot(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok(status == StatusCode::OK && body == "the machine")
}
