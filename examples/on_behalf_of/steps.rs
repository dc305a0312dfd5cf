//! Calls by three callers to two APIs, and the requests that they cause.

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use tower::BoxError;
use tower_oauth2::grant::TokenType;

use crate::service;
use crate::support::grants::{Decision, Form, Grants};
use crate::support::issuer::Issuer;
use crate::support::report::{Report, Wire};

const CALLERS: [&str; 3] = ["alf", "bea", "cat"];

/// Decides about a token exchange (RFC 8693). A caller's token is `<name>s-own`. The token issued
/// for it has the same subject, and one API as its audience.
fn decide(form: &Form) -> Decision {
    let member = |name: &str| form.get(name).map_or("", String::as_str);
    if member("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange" {
        return Err("unsupported_grant_type");
    }
    let subject = member("subject_token").strip_suffix("s-own").unwrap_or_default();
    let is_access_token = member("subject_token_type") == TokenType::ACCESS_TOKEN.as_str();
    if !is_access_token || !CALLERS.contains(&subject) {
        return Err("invalid_request");
    }
    let subject = format!("{subject} at {}", member("audience"));
    Ok((subject, json!({ "issued_token_type": TokenType::ACCESS_TOKEN.as_str() })))
}

pub(crate) async fn run() -> Result<Report, BoxError> {
    let issuer = Issuer::new();
    let grants = Grants::new(&issuer);
    let token_endpoint = grants.serve(|_, form| decide(form)).await?;
    let apis = [("orders", grants.serve_api().await?), ("stock", grants.serve_api().await?)];
    let service = service::serve(&token_endpoint, &apis).await?;
    println!("service {service}, token endpoint {token_endpoint}");
    let mut report = Report::new(&issuer);

    report.begin("Three callers, two APIs, twice each");
    for _ in 0..2 {
        expect_all_served(&mut report, &service).await?;
    }
    let wire = Wire { api: 12, rejected: 0, token_endpoint: 6 };
    report.end(wire, "C2: one token request for each caller and each API");

    report.begin("The same calls with tokens that were revoked");
    issuer.revoke_all();
    expect_all_served(&mut report, &service).await?;
    let wire = Wire { api: 12, rejected: 6, token_endpoint: 6 };
    report.end(wire, "R1: one replay for each call, with a fresh token for the same caller");

    report.begin("A caller without a token, and a caller whose token is not accepted");
    for token in [None, Some("Bearer a guess")] {
        let (status, _) = call(&service, "orders", token).await?;
        report.expect("the caller gets 401", status == StatusCode::UNAUTHORIZED);
    }
    let wire = Wire { api: 0, rejected: 0, token_endpoint: 1 };
    report.end(wire, "R2: without a token, nothing is sent to the API");
    Ok(report)
}

async fn expect_all_served(report: &mut Report, service: &str) -> Result<(), BoxError> {
    for caller in CALLERS {
        for api in ["orders", "stock"] {
            let (_, body) = call(service, api, Some(&format!("Bearer {caller}s-own"))).await?;
            let effect = format!("{api} sees the caller {caller} and a token for {api}");
            report.expect(&effect, body == format!("{caller} at {api}"));
        }
    }
    Ok(())
}

async fn call(
    service: &str,
    api: &str,
    token: Option<&str>,
) -> Result<(StatusCode, Bytes), BoxError> {
    let http = Client::builder(TokioExecutor::new()).build_http();
    let mut request = Request::get(format!("{service}/{api}"));
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, token);
    }
    let response = http.request(request.body(Full::<Bytes>::default())?).await?;
    Ok((response.status(), response.into_body().collect().await?.to_bytes()))
}
