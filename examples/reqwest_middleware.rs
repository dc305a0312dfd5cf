//! Sends each request of a `reqwest-middleware` client with a token, without changes to its calls.

mod support;

use std::process::ExitCode;

use http::StatusCode;
use reqwest::redirect::Policy;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use serde_json::{Value, json};
use tower_oauth2::http_client::OAuth2Middleware;
use tower_oauth2::replay::Replayed;
use tower_oauth2::{
    BoxError, ClientAuth, Credentials, OAuth2Layer, Origins, RequestExt, TokenCache, TokenEndpoint,
};

use self::support::api::{Api, Digest};
use self::support::issuer::{CLIENT_ID, CLIENT_SECRET, Issuer};
use self::support::report::{Report, Wire, conclude};

#[tokio::main]
async fn main() -> ExitCode {
    conclude(run().await)
}

async fn run() -> Result<Report, BoxError> {
    let issuer = Issuer::new();
    let token_endpoint = issuer.serve().await?;
    let api = Api::new(&issuer);
    let origin = support::server::serve(api.clone()).await?;
    println!("token endpoint {token_endpoint}, API {origin}");

    let http = reqwest::Client::builder().redirect(Policy::none()).build()?;
    let cache = TokenCache::new(TokenEndpoint::new(http.clone()));
    let auth = ClientAuth::client_secret_basic(CLIENT_ID, CLIENT_SECRET);
    let credentials = Credentials::new(&token_endpoint, auth)?;
    let layer = OAuth2Layer::new(cache.tokens(&credentials), Origins::only(&origin)?);
    let client: ClientWithMiddleware =
        ClientBuilder::new(http).with(OAuth2Middleware::new(layer)).build();

    let mut report = Report::new(&issuer);
    let url = format!("{origin}/people/1");
    let alf = json!({ "name": "Alf" });

    report.begin("PUT and GET");
    client.put(&url).json(&alf).send().await?.error_for_status()?;
    let person: Value = client.get(&url).send().await?.error_for_status()?.json().await?;
    report.expect("GET returns the JSON that was put", person == alf);
    let wire = Wire { api: 2, rejected: 0, token_endpoint: 1 };
    report.end(wire, "C2: one token request, however many calls");

    report.begin("PUT with a token that was revoked");
    issuer.revoke_all();
    let response = client.put(&url).json(&alf).send().await?;
    report.expect("the caller gets 200", response.status() == StatusCode::OK);
    let is_replayed = response.extensions().get() == Some(&Replayed::Yes);
    report.expect("the request was replayed", is_replayed);
    let is_intact = api.bodies().ends_with(&[Digest::of([alf.to_string()]); 2]);
    report.expect("the whole JSON arrived both times", is_intact);
    let wire = Wire { api: 2, rejected: 1, token_endpoint: 1 };
    report.end(wire, "R1, R3: one replay, byte for byte, with a fresh token");

    report.begin("GET for a tenant, and GET without a token");
    let tenant = cache.tokens(&credentials.audience("https://tenant.example.com/"));
    let status = client.get(&url).tokens(&tenant).send().await?.status();
    report.expect("the tenant gets 200", status == StatusCode::OK);
    let status = client.get(&url).no_token().send().await?.status();
    report.expect("the request without a token gets 401", status == StatusCode::UNAUTHORIZED);
    let wire = Wire { api: 2, rejected: 1, token_endpoint: 1 };
    report.end(wire, "X2: a request gets a token of the handle that it names");

    Ok(report)
}
