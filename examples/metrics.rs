//! Shows the metrics of this crate in Prometheus, and its log events.
//!
//! Log events go to stderr. The metrics are served on loopback, and printed at the end.

mod support;

use std::convert::Infallible;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::task::JoinSet;
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_oauth2::store::{MemoryStore, TokenStoreLayer};
use tower_oauth2::{ClientAuth, Credentials, OAuth2Layer, Origins, TokenEndpoint, Tokens};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::support::issuer::{CLIENT_ID, CLIENT_SECRET, Issuer};
use crate::support::report::{self, Report, Wire};
use crate::support::server;

type Client = legacy::Client<HttpConnector, Full<Bytes>>;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::registry()
        .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr))
        .with(Targets::new().with_target("tower_oauth2", Level::DEBUG))
        .init();
    report::conclude(run().await)
}

/// Installs the recorder. Call it before creating the first cache.
fn install() -> Result<PrometheusHandle, BoxError> {
    let builder = PrometheusBuilder::new()
        .with_recommended_naming(true)
        .set_buckets(&[0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0, 3600.0])?;
    Ok(builder.install_recorder()?)
}

/// Serves the page that Prometheus scrapes, and returns its URL.
async fn serve_metrics(prometheus: PrometheusHandle) -> std::io::Result<String> {
    let page = service_fn(move |_: Request<Incoming>| {
        let page = Response::new(Full::<Bytes>::from(prometheus.render()));
        async move { Ok::<_, Infallible>(page) }
    });
    Ok(format!("{}/metrics", server::serve(page).await?))
}

/// Serves an API, and returns its origin. It accepts valid tokens, but none at `/broken`.
async fn serve_api(issuer: &Issuer) -> std::io::Result<String> {
    let issuer = issuer.clone();
    let api = service_fn(move |request: Request<Incoming>| {
        let is_broken = request.uri().path() == "/broken";
        let none = HeaderMap::new();
        let is_accepted = issuer.accepts(if is_broken { &none } else { request.headers() });
        let mut response = Response::new(Full::<Bytes>::default());
        if !is_accepted {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        async move { Ok::<_, Infallible>(response) }
    });
    server::serve(api).await
}

fn tokens(
    http: &Client,
    store: &MemoryStore,
    token_endpoint: &str,
    secret: &str,
) -> Result<Tokens, BoxError> {
    let auth = ClientAuth::client_secret_basic(CLIENT_ID, secret);
    let credentials = Credentials::new(token_endpoint, auth)?;
    let source = TokenStoreLayer::new(store.clone()).layer(TokenEndpoint::new(http.clone()));
    Ok(Tokens::new(credentials, source))
}

async fn run() -> Result<Report, BoxError> {
    let metrics = serve_metrics(install()?).await?;
    let issuer = Issuer::new();
    let token_endpoint = issuer.serve().await?;
    let api = serve_api(&issuer).await?;
    println!("token endpoint {token_endpoint}, API {api}, metrics {metrics}");

    let http: Client = legacy::Client::builder(TokioExecutor::new()).build_http();
    let store = MemoryStore::new();
    let first = tokens(&http, &store, &token_endpoint, CLIENT_SECRET)?;
    let layer = OAuth2Layer::new(first, Origins::only([&api])?);
    let client = layer.layer(http.clone());
    let get = async |path: &str| -> Result<StatusCode, BoxError> {
        let request = Request::get(format!("{api}{path}")).body(Full::default())?;
        Ok(client.clone().oneshot(request).await?.status())
    };

    let mut report = Report::new(&issuer);

    report.begin("100 callers at once, and no token yet");
    let mut callers = JoinSet::new();
    for _ in 0..100 {
        let request = Request::get(format!("{api}/")).body(Full::default())?;
        callers.spawn(client.clone().oneshot(request));
    }
    while let Some(called) = callers.join_next().await {
        called??;
    }
    let wire = Wire { api: 100, rejected: 0, token_endpoint: 1 };
    report.end(wire, "C2: one token request, however many callers");

    report.begin("An API that rejects every token");
    let refused = get("/broken").await? == StatusCode::UNAUTHORIZED;
    report.expect("the caller gets the second 401", refused);
    let wire = Wire { api: 2, rejected: 2, token_endpoint: 1 };
    report.end(wire, "R8: one replay, and then the API's rejections are ignored for a while");

    report.begin("A call with a token that was revoked");
    issuer.terms().lifetime = Duration::from_secs(2);
    issuer.revoke_all();
    // R8: rejections are ignored for 100 ms after the one by the broken API.
    tokio::time::sleep(Duration::from_millis(150)).await;
    report.expect("the caller gets 200", get("/").await? == StatusCode::OK);
    let wire = Wire { api: 2, rejected: 1, token_endpoint: 1 };
    report.end(wire, "R1: one replay, with a fresh token");

    report.begin("A call with a token that has expired");
    issuer.terms().lifetime = Duration::from_secs(3600);
    tokio::time::sleep(Duration::from_secs(2)).await;
    report.expect("the caller gets 200", get("/").await? == StatusCode::OK);
    let wire = Wire { api: 1, rejected: 0, token_endpoint: 1 };
    report.end(wire, "C5: an expired token is not sent");

    report.begin("Another process with the same store, and a process with a wrong secret");
    tokens(&http, &store, &token_endpoint, CLIENT_SECRET)?.warm().await?;
    let unauthorized = tokens(&http, &store, &token_endpoint, "a guess")?;
    report.expect(
        "the process with a wrong secret gets no token",
        unauthorized.warm().await.is_err(),
    );
    let wire = Wire { api: 0, rejected: 0, token_endpoint: 1 };
    report.end(wire, "S2, S5: the first process finds the token in the store, the second does not");

    report.begin("The metrics");
    let page = http.get(metrics.parse()?).await?.into_body().collect().await?.to_bytes();
    let page = String::from_utf8(page.to_vec())?;
    for line in [
        r#"tower_oauth2_token_fetch_duration_seconds_count{cause="cold",outcome="success"} 1"#,
        r#"tower_oauth2_token_fetch_duration_seconds_count{cause="cold",outcome="store"} 1"#,
        r#"tower_oauth2_token_fetch_duration_seconds_count{cause="cold",outcome="error",error_type="invalid_client"} 1"#,
        r#"tower_oauth2_token_fetch_duration_seconds_count{cause="expired",outcome="success"} 1"#,
        r#"tower_oauth2_token_fetch_duration_seconds_count{cause="rejected",outcome="success"} 2"#,
        r#"tower_oauth2_token_remaining_life_seconds_count{cause="expired",outcome="success"} 1"#,
        r#"tower_oauth2_replays_total{outcome="rejected"} 1"#,
        r#"tower_oauth2_replays_total{outcome="accepted"} 1"#,
        r#"tower_oauth2_failing_credentials 1"#,
        r#"tower_oauth2_broken_apis 1"#,
        r#"tower_oauth2_store_operation_duration_seconds_count{operation="lock",outcome="success"} 5"#,
    ] {
        report.expect(line, page.lines().any(|found| found == line));
    }
    report.end(Wire::default(), "O: reading the metrics sends no requests");
    println!("\nThe page, without its buckets:\n");
    page.lines().filter(|line| !line.contains("_bucket{")).for_each(|line| println!("{line}"));
    Ok(report)
}
