//! A user's refresh token (RFC 6749 section 6), kept in a file: each token request brings another one, and it is in the
//! file before anything is done with the token that came with it.

mod support;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use tokio::fs;
use tower::{BoxError, ServiceExt};
use tower_oauth2::grant::{RefreshToken, RotatedToken};
use tower_oauth2::{ClientAuth, Credentials, OAuth2, OAuth2Layer, Origins, TokenEndpoint, Tokens};

use crate::support::grants::{Decision, Form, Grants};
use crate::support::issuer::Issuer;
use crate::support::report::{self, Report, Wire};

type Client = OAuth2<legacy::Client<HttpConnector, Full<Bytes>>>;

fn client(token_endpoint: &str, user: RefreshToken, api: &str) -> Result<Client, BoxError> {
    let http = legacy::Client::builder(TokioExecutor::new()).build_http();

    // A program on the user's own machine has no secret.
    let credentials =
        Credentials::new(token_endpoint, ClientAuth::none("installed-program"))?.grant(user);
    let tokens = Tokens::new(credentials, TokenEndpoint::new(http.clone()));
    Ok(OAuth2Layer::new(tokens, Origins::only(api)?).layer(http))
}

/// The refresh token in a file, and each one that comes in its place.
async fn in_file(path: &Path) -> io::Result<RefreshToken> {
    let text = fs::read_to_string(path).await?;
    let path = path.to_owned();
    Ok(RefreshToken::new("alf", text.trim_end(), move |rotated| persist(path.clone(), rotated)))
}

async fn persist(path: PathBuf, rotated: RotatedToken) -> io::Result<()> {
    // Written beside it and renamed, so that a crash leaves one of the two.
    let beside = path.with_extension("new");
    fs::write(&beside, rotated.secret()).await?;
    fs::rename(beside, path).await
}

/// A server where each refresh token is good once. Clones are the same one.
#[derive(Clone)]
struct Rotating(Arc<Mutex<String>>);

impl Rotating {
    fn decide(&self, form: &Form) -> Decision {
        let mut present = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if form.get("grant_type").map(String::as_str) != Some("refresh_token") {
            return Err("unsupported_grant_type");
        }
        if form.get("refresh_token") != Some(&present) {
            return Err("invalid_grant");
        }
        present.push('+');
        Ok(("alf".to_owned(), json!({ "refresh_token": *present })))
    }

    fn grant(&self, refresh_token: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = refresh_token.to_owned();
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    report::conclude(run().await)
}

async fn run() -> Result<Report, BoxError> {
    let path = std::env::temp_dir().join(format!("refresh-token-{}", std::process::id()));
    let report = with_file(&path).await;
    fs::remove_file(path).await?;
    report
}

async fn with_file(path: &Path) -> Result<Report, BoxError> {
    // As it came when the user authorized this program: from a device flow, say.
    fs::write(path, "first").await?;

    let issuer = Issuer::new();
    let grants = Grants::new(&issuer);
    let rotating = Rotating(Arc::new(Mutex::new("first".to_owned())));
    let decide = rotating.clone();
    let token_endpoint = grants.serve(move |_, form| decide.decide(form)).await?;
    let api = grants.serve_api().await?;
    println!("token endpoint {token_endpoint}, API {api}");
    let mut report = Report::new(&issuer);

    report.begin("Two calls on behalf of a user");
    let user = in_file(path).await?;
    let program = client(&token_endpoint, user.clone(), &api)?;
    for _ in 0..2 {
        report.expect("the token is that user's", call(&program, &api).await? == alf());
    }
    report.expect("the file has the next refresh token", fs::read(path).await? == b"first+");
    let wire = Wire { api: 2, rejected: 0, token_endpoint: 1 };
    report.end(wire, "C2: one token request, however many calls");

    report.begin("The program starts again, and makes a call");
    let after = client(&token_endpoint, in_file(path).await?, &api)?;
    report.expect("it goes on with what is in the file", call(&after, &api).await? == alf());
    report.expect("the file has the next refresh token", fs::read(path).await? == b"first++");
    let wire = Wire { api: 1, rejected: 0, token_endpoint: 1 };
    report.end(wire, "a refresh token is persisted before its access token is used");

    report.begin("The user takes the grant back");
    rotating.grant("");
    issuer.revoke_all();
    for _ in 0..2 {
        let error = call(&program, &api).await;
        let error = error.map_or_else(|error| error.to_string(), |_| String::new());
        let is_told = error.ends_with("the user has to authorize again");
        report.expect("the error says what to do", is_told);
    }
    let wire = Wire { api: 1, rejected: 1, token_endpoint: 1 };
    report.end(wire, "C9: a server that says no is not asked again and again");

    report.begin("The user authorizes again");
    rotating.grant("second");
    user.set("second");
    report.expect("it goes on at once", call(&program, &api).await? == alf());
    report.expect("the file has the next refresh token", fs::read(path).await? == b"second+");
    let wire = Wire { api: 1, rejected: 0, token_endpoint: 1 };
    report.end(wire, "C9: what was remembered is forgotten");
    Ok(report)
}

fn alf() -> (StatusCode, Bytes) {
    (StatusCode::OK, Bytes::from_static(b"alf"))
}

async fn call(client: &Client, api: &str) -> Result<(StatusCode, Bytes), BoxError> {
    let request = Request::get(format!("{api}/things")).body(Full::default())?;
    let response = client.clone().oneshot(request).await?;
    Ok((response.status(), response.into_body().collect().await?.to_bytes()))
}
