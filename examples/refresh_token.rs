//! Stores a user's refresh token (RFC 6749 section 6) in a file.
//!
//! The server rotates the refresh token with each token request. The new one is saved before the
//! access token that came with it is used.

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
use tokio::io::AsyncWriteExt;
use tower::{BoxError, ServiceExt};
use tower_oauth2::grant::{RefreshToken, RotatedToken};
use tower_oauth2::{ClientAuth, Credentials, OAuth2, OAuth2Layer, Origins, TokenEndpoint, Tokens};

use crate::support::grants::{Decision, Form, Grants};
use crate::support::issuer::Issuer;
use crate::support::report::{self, Report, Wire};

type Client = OAuth2<legacy::Client<HttpConnector, Full<Bytes>>>;

fn client(token_endpoint: &str, user: RefreshToken, api: &str) -> Result<Client, BoxError> {
    let http = legacy::Client::builder(TokioExecutor::new()).build_http();

    // A program on a user's machine cannot keep a client secret.
    let credentials =
        Credentials::new(token_endpoint, ClientAuth::none("installed-program"))?.grant(user);
    let tokens = Tokens::new(credentials, TokenEndpoint::new(http.clone()));
    Ok(OAuth2Layer::new(tokens, Origins::only(api)?).layer(http))
}

/// Reads the refresh token from a file. Rotated tokens are saved to the same file.
async fn from_file(path: &Path) -> io::Result<RefreshToken> {
    let text = fs::read_to_string(path).await?;
    let path = path.to_owned();
    Ok(RefreshToken::new("alf", text.trim_end(), move |rotated| persist(path.clone(), rotated)))
}

async fn persist(path: PathBuf, rotated: RotatedToken) -> io::Result<()> {
    // A rename is atomic, so a crash leaves either the old token or the new one.
    let mut new = path.clone().into_os_string();
    new.push(".new");
    let mut file = fs::File::create(&new).await?;
    file.write_all(rotated.secret().as_bytes()).await?;
    // Without this, a power failure could leave an empty file.
    file.sync_all().await?;
    fs::rename(new, path).await
}

/// A server that accepts each refresh token once. Clones share its state.
#[derive(Clone)]
struct Rotating(Arc<Mutex<String>>);

impl Rotating {
    fn decide(&self, form: &Form) -> Decision {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if form.get("grant_type").map(String::as_str) != Some("refresh_token") {
            return Err("unsupported_grant_type");
        }
        if form.get("refresh_token") != Some(&current) {
            return Err("invalid_grant");
        }
        current.push('+');
        Ok(("alf".to_owned(), json!({ "refresh_token": *current })))
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
    // The first refresh token comes from the user's authorization, for example a device flow.
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
    let user = from_file(path).await?;
    let program = client(&token_endpoint, user.clone(), &api)?;
    for _ in 0..2 {
        report.expect("the API sees the user's token", call(&program, &api).await? == alf());
    }
    report.expect("the file has the next refresh token", fs::read(path).await? == b"first+");
    let wire = Wire { api: 2, rejected: 0, token_endpoint: 1 };
    report.end(wire, "C2: one token request, however many calls");

    report.begin("The program restarts and makes a call");
    let restarted = client(&token_endpoint, from_file(path).await?, &api)?;
    let is_alfs = call(&restarted, &api).await? == alf();
    report.expect("the program uses the refresh token from the file", is_alfs);
    report.expect("the file has the next refresh token", fs::read(path).await? == b"first++");
    let wire = Wire { api: 1, rejected: 0, token_endpoint: 1 };
    report.end(wire, "a rotated refresh token is saved before its access token is used");

    report.begin("The user revokes the authorization");
    rotating.grant("");
    issuer.revoke_all();
    for _ in 0..2 {
        let error = call(&program, &api).await;
        let error = error.map_or_else(|error| error.to_string(), |_| String::new());
        let is_told = error.ends_with("the user has to authorize again");
        report.expect("the error says what to do", is_told);
    }
    let wire = Wire { api: 1, rejected: 1, token_endpoint: 1 };
    report.end(wire, "C9: after a permanent error, the second call does not ask the server again");

    report.begin("The user authorizes again");
    rotating.grant("second");
    user.set("second");
    report.expect("the next call succeeds at once", call(&program, &api).await? == alf());
    report.expect("the file has the next refresh token", fs::read(path).await? == b"second+");
    let wire = Wire { api: 1, rejected: 0, token_endpoint: 1 };
    report.end(wire, "C9: a new refresh token ends the back-off");
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
