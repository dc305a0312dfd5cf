//! Uses the JWT bearer grant (RFC 7523 section 2.1), as clouds require for service accounts.
//!
//! The grant needs no client authentication and no secret. A key signs a JWT for each token
//! request.

mod support;

use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_oauth2::grant::JwtBearer;
use tower_oauth2::jwt::{Algorithm, SignedJwt, SigningKey};
use tower_oauth2::{ClientAuth, Credentials, OAuth2, OAuth2Layer, Origins, TokenEndpoint, Tokens};

use crate::support::grants::{Decision, Form, Grants};
use crate::support::issuer::Issuer;
use crate::support::report::{self, Report, Wire};

const ROBOT: &str = "robot@project.example.com";
const SCOPE: &str = "https://www.example.com/auth/calendar";

type Client = OAuth2<legacy::Client<HttpConnector, Full<Bytes>>>;

fn client(token_endpoint: &str, key: SigningKey, api: &str) -> Result<Client, BoxError> {
    let http = legacy::Client::builder(TokioExecutor::new()).build_http();

    // Google requires the scope in the JWT. Other servers require `Credentials::scope`.
    let jwt = SignedJwt::new(key).subject("alf").claim("scope", SCOPE);
    let credentials = Credentials::new(token_endpoint, ClientAuth::anonymous())?
        .grant(JwtBearer::signed(ROBOT, jwt));

    let tokens = Tokens::new(credentials, TokenEndpoint::new(http.clone()));
    let layer = OAuth2Layer::new(tokens, Origins::only([api])?);
    Ok(ServiceBuilder::new().layer(layer).service(http))
}

/// A service account at the server, which accepts each of its assertions once. The server has its
/// public key.
struct Account {
    public_jwk: Value,
    seen: Arc<Mutex<HashSet<String>>>,
}

impl Account {
    fn decide(&self, form: &Form) -> Decision {
        if form.get("grant_type").map(String::as_str)
            != Some("urn:ietf:params:oauth:grant-type:jwt-bearer")
        {
            return Err("unsupported_grant_type");
        }
        let claims = form.get("assertion").and_then(|assertion| self.verify(assertion));
        let claims = claims.ok_or("invalid_grant")?;
        if claims["iss"] != ROBOT || claims["scope"] != SCOPE {
            return Err("invalid_grant");
        }
        let id = claims["jti"].as_str().ok_or("invalid_grant")?.to_owned();
        if !self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(id) {
            return Err("invalid_grant");
        }
        Ok((claims["sub"].as_str().unwrap_or_default().to_owned(), json!({})))
    }

    /// Returns the claims, if the account's key has signed them.
    fn verify(&self, assertion: &str) -> Option<Value> {
        let (input, signature) = assertion.rsplit_once('.')?;
        let (_, claims) = input.split_once('.')?;
        let part = |name| BASE64_URL_SAFE_NO_PAD.decode(self.public_jwk[name].as_str()?).ok();
        let point = [vec![4], part("x")?, part("y")?].concat();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        key.verify(input.as_bytes(), &BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    report::conclude(run().await)
}

async fn run() -> Result<Report, BoxError> {
    let key = SigningKey::generate(Algorithm::ES256)?.with_kid("2026-01");
    let account = Arc::new(Account { public_jwk: key.public_jwk(), seen: Arc::default() });

    let issuer = Issuer::new();
    let grants = Grants::new(&issuer);
    let token_endpoint = grants.serve(move |_, form| account.decide(form)).await?;
    let api = grants.serve_api().await?;
    println!("token endpoint {token_endpoint}, API {api}");
    let mut report = Report::new(&issuer);

    report.begin("Two calls by a service account on behalf of a user");
    let robot = client(&token_endpoint, key, &api)?;
    for _ in 0..2 {
        let is_alfs = call(&robot, &api).await? == (StatusCode::OK, "alf".into());
        report.expect("the API sees the user's token", is_alfs);
    }
    let wire = Wire { api: 2, rejected: 0, token_endpoint: 1 };
    report.end(wire, "C2: one token request, however many calls");

    report.begin("A call with a token that was revoked");
    issuer.revoke_all();
    let is_alfs = call(&robot, &api).await? == (StatusCode::OK, "alf".into());
    report.expect("the server accepts the second assertion, which has a new jti", is_alfs);
    let wire = Wire { api: 2, rejected: 1, token_endpoint: 1 };
    report.end(wire, "R1, W8: one replay, and each token request has a new assertion");

    report.begin("A call with another key");
    let stranger = client(&token_endpoint, SigningKey::generate(Algorithm::ES256)?, &api)?;
    let error =
        call(&stranger, &api).await.map_or_else(|error| error.to_string(), |_| String::new());
    report.expect("the error is invalid_grant", error.contains("(status 400, invalid_grant)"));
    let wire = Wire { api: 0, rejected: 0, token_endpoint: 1 };
    report.end(wire, "R2: without a token, nothing is sent to the API");
    Ok(report)
}

async fn call(client: &Client, api: &str) -> Result<(StatusCode, Bytes), BoxError> {
    let request = Request::get(format!("{api}/things")).body(Full::default())?;
    let response = client.clone().oneshot(request).await?;
    Ok((response.status(), response.into_body().collect().await?.to_bytes()))
}
