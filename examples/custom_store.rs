//! Shows a custom store: a directory that two processes share. It implements only `get` and `set`.
//!
//! A directory has no atomic `replace` and no lock. When both processes need a token at the same
//! moment, each of them requests one.

mod support;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::fs;
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_oauth2::store::{StoredValue, TokenStore, TokenStoreLayer};
use tower_oauth2::{ClientAuth, Credentials, OAuth2, OAuth2Layer, Origins, TokenEndpoint, Tokens};

use crate::support::api::Api;
use crate::support::issuer::{CLIENT_ID, CLIENT_SECRET, Issuer};
use crate::support::report::{self, Report, Wire};
use crate::support::server;

/// Stores each key in its own file. It ignores the time to live, because each record contains its
/// expiry.
struct Directory(PathBuf);

impl TokenStore for Directory {
    async fn get(&self, key: &str) -> Result<Option<StoredValue>, BoxError> {
        match fs::read(self.0.join(key)).await {
            Ok(value) => Ok(Some(StoredValue::new(value))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn set(&self, key: &str, value: &[u8], _ttl: Duration) -> Result<(), BoxError> {
        // A reader sees either the whole old record or the whole new one.
        let new = self.0.join(format!("{key}.{:x}", fastrand::u64(..)));
        fs::write(&new, value).await?;
        Ok(fs::rename(new, self.0.join(key)).await?)
    }
}

type Client = OAuth2<legacy::Client<HttpConnector, Full<Bytes>>>;

/// Creates the client of one process. It shares only the directory with other processes.
fn process(directory: PathBuf, token_endpoint: &str, api: &str) -> Result<Client, BoxError> {
    let http = legacy::Client::builder(TokioExecutor::new()).build_http();
    let auth = ClientAuth::client_secret_basic(CLIENT_ID, CLIENT_SECRET);
    let source = ServiceBuilder::new()
        .layer(TokenStoreLayer::new(Directory(directory)))
        .service(TokenEndpoint::new(http.clone()));
    let tokens = Tokens::new(Credentials::new(token_endpoint, auth)?, source);
    Ok(OAuth2Layer::new(tokens, Origins::only([api])?).layer(http))
}

#[tokio::main]
async fn main() -> ExitCode {
    report::conclude(run().await)
}

async fn run() -> Result<Report, BoxError> {
    let issuer = Issuer::new();
    let token_endpoint = issuer.serve().await?;
    let origin = server::serve(Api::new(&issuer)).await?;
    println!("token endpoint {token_endpoint}, API {origin}");

    let directory = std::env::temp_dir().join(format!("tokens-{:x}", fastrand::u64(..)));
    fs::create_dir(&directory).await?;
    let result = share(&issuer, &directory, &token_endpoint, &origin).await;
    fs::remove_dir_all(&directory).await?;
    result
}

async fn share(
    issuer: &Issuer,
    directory: &std::path::Path,
    token_endpoint: &str,
    origin: &str,
) -> Result<Report, BoxError> {
    let mut report = Report::new(issuer);
    let process = || process(directory.to_owned(), token_endpoint, origin);
    let get = || Request::get(format!("{origin}/people/1")).body(Full::default());

    report.begin("Two processes, one after the other");
    for client in [process()?, process()?] {
        let status = client.oneshot(get()?).await?.status();
        report.expect("the API accepts the token", status == StatusCode::NOT_FOUND);
    }
    let wire = Wire { api: 2, rejected: 0, token_endpoint: 1 };
    report.end(wire, "the second process finds the token of the first");

    report.begin("Two processes have a token, and it is revoked");
    let (first, second) = (process()?, process()?);
    for client in [&first, &second] {
        client.clone().oneshot(get()?).await?;
    }
    issuer.revoke_all();
    for client in [first, second] {
        let status = client.oneshot(get()?).await?.status();
        report.expect("the API accepts the new token", status == StatusCode::NOT_FOUND);
    }
    let wire = Wire { api: 6, rejected: 2, token_endpoint: 1 };
    report.end(wire, "the second process finds the new token in the store");
    Ok(report)
}
