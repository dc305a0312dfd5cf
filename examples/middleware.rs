//! Where the layer goes among others: tracing, retries, a timeout, limits and decompression.
//!
//! What the layers say of each request goes to stderr.

mod support;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tower::retry::{Policy, RetryLayer};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
use tower_http::compression::CompressionLayer;
use tower_http::decompression::DecompressionLayer;
use tower_http::trace::TraceLayer;
use tower_oauth2::replay::Replayed;
use tower_oauth2::{ClientAuth, Credentials, OAuth2Layer, Origins, TokenEndpoint, Tokens};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::support::api::{Api, Digest};
use crate::support::issuer::{CLIENT_ID, CLIENT_SECRET, Issuer};
use crate::support::report::{self, Report, Wire};
use crate::support::server;

fn client(
    token_endpoint: &str,
    api: &str,
) -> Result<
    impl Service<
        Request<Full<Bytes>>,
        Response = Response<impl Body<Data: Send, Error: Into<BoxError>> + Send + 'static>,
        Error = BoxError,
        Future: Send,
    > + Clone
    + Send
    + 'static,
    BoxError,
> {
    let http = legacy::Client::builder(TokioExecutor::new()).build_http();
    let auth = ClientAuth::client_secret_basic(CLIENT_ID, CLIENT_SECRET);
    let credentials = Credentials::new(token_endpoint, auth)?;
    let tokens = Tokens::new(credentials, TokenEndpoint::new(http.clone()));

    Ok(ServiceBuilder::new()
        // One span for each call, whatever becomes of it below.
        .layer(TraceLayer::new_for_http().on_request(()).on_eos(()))
        .layer(RetryLayer::new(WhenBusy { left: 3, pause: Duration::from_millis(20) }))
        // For one attempt, with the wait for a token and the replay.
        .timeout(Duration::from_secs(30))
        // Within the retries, so that each attempt leaves with a token that is valid by then.
        .layer(OAuth2Layer::new(tokens, Origins::only([api])?))
        // The limits count what goes over the wire, and a replay does. Whoever waits for a token does
        // not, and holds no place. A rate limit can not be cloned, and what our layer wraps has to
        // be: hence the buffer.
        .buffer(64)
        .rate_limit(1000, Duration::from_secs(1))
        .concurrency_limit(8)
        .layer(DecompressionLayer::new())
        .service(http))
}

/// Another attempt, after a pause, for those whom the API is too busy to serve. A 401 is none of
/// its business.
#[derive(Clone)]
struct WhenBusy {
    left: u32,
    pause: Duration,
}

impl<B: Clone, R> Policy<Request<B>, Response<R>, BoxError> for WhenBusy {
    type Future = Sleep;

    fn retry(
        &mut self,
        _: &mut Request<B>,
        result: &mut Result<Response<R>, BoxError>,
    ) -> Option<Sleep> {
        let is_busy =
            matches!(result, Ok(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE);
        self.left = self.left.checked_sub(1).filter(|_| is_busy)?;
        let pause = self.pause;
        self.pause *= 2;
        Some(tokio::time::sleep(pause))
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let targets =
        Targets::new().with_targets([("tower_http", Level::DEBUG), ("tower_oauth2", Level::DEBUG)]);
    let lines = tracing_subscriber::fmt::layer().without_time().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(targets)).init();
    report::conclude(run().await)
}

async fn run() -> Result<Report, BoxError> {
    let issuer = Issuer::new();
    let token_endpoint = issuer.serve().await?;
    let api = Api::new(&issuer);
    let gateway = Gateway::default();
    let origin = gateway.serve(&api).await?;
    println!("token endpoint {token_endpoint}, API {origin}");

    let mut report = Report::new(&issuer);
    let url = format!("{origin}/people");
    let people = r#"{"name":"Alf"}"#.repeat(1000);
    let mut client = client(&token_endpoint, &origin)?;

    report.begin("PUT and GET of 14 KB that the API answers with compressed");
    let put = send(&mut client, Request::put(&url).body(people.clone().into())?).await?;
    report.expect("PUT is answered with 200", put.status == StatusCode::OK);
    let get = send(&mut client, Request::get(&url).body(Full::default())?).await?;
    report.expect("GET brings what was put", get.body == people);
    report.expect("both were compressed", gateway.compressed.load(Ordering::Relaxed) == 2);
    let wire = Wire { api: 2, rejected: 0, token_endpoint: 1 };
    report.end(wire, "C1, C2: one token request, however many calls");

    report.begin("GET from an API that is busy for a moment");
    gateway.is_busy.store(true, Ordering::Relaxed);
    let get = send(&mut client, Request::get(&url).body(Full::default())?).await?;
    report.expect("the second attempt is answered with 200", get.status == StatusCode::OK);
    report.expect("it was no replay", get.replayed.is_none());
    let wire = Wire { api: 2, rejected: 0, token_endpoint: 0 };
    report.end(wire, "R7: a 503 is for the retries, and the token stays");

    report.begin("PUT with a token that was revoked");
    issuer.revoke_all();
    let put = send(&mut client, Request::put(&url).body(people.clone().into())?).await?;
    report.expect("it is answered with 200", put.status == StatusCode::OK);
    report.expect("it was replayed", put.replayed == Some(Replayed::Yes));
    let is_intact = api.bodies().ends_with(&[Digest::of([&people]); 2]);
    report.expect("the whole body arrived both times", is_intact);
    let wire = Wire { api: 2, rejected: 1, token_endpoint: 1 };
    report.end(wire, "R1, R3: one replay, byte for byte, with a fresh token");

    report.begin("PUT with a token that was revoked, and the API is busy on top of it");
    issuer.revoke_all();
    gateway.is_busy.store(true, Ordering::Relaxed);
    let put = send(&mut client, Request::put(&url).body(people.clone().into())?).await?;
    report.expect("it is answered with 200", put.status == StatusCode::OK);
    let is_intact = api.bodies().ends_with(&[Digest::of([&people]); 3]);
    report.expect("the whole body arrived three times", is_intact);
    let wire = Wire { api: 3, rejected: 1, token_endpoint: 1 };
    report.end(wire, "R1: replayed for the 401, retried for the 503");

    report.begin("20 GETs at once, with places for 8");
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let (mut client, request) = (client.clone(), Request::get(&url).body(Full::default())?);
        calls.spawn(async move { send(&mut client, request).await });
    }
    let mut served = 0;
    while let Some(answer) = calls.join_next().await {
        served += usize::from(answer??.body == people);
    }
    report.expect("all are answered", served == 20);
    let wire = Wire { api: 20, rejected: 0, token_endpoint: 0 };
    report.end(wire, "C1: a token that is there is used");

    Ok(report)
}

struct Answer {
    status: StatusCode,
    replayed: Option<Replayed>,
    body: Bytes,
}

async fn send<S, B>(client: &mut S, request: Request<Full<Bytes>>) -> Result<Answer, BoxError>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = BoxError>,
    B: Body<Error: Into<BoxError>>,
{
    let response = client.ready().await?.call(request).await?;
    Ok(Answer {
        status: response.status(),
        replayed: response.extensions().get().copied(),
        body: response.into_body().collect().await.map_err(Into::into)?.to_bytes(),
    })
}

/// Stands before the API, compresses its responses, and loses one when it is busy.
#[derive(Clone, Default)]
struct Gateway {
    is_busy: Arc<AtomicBool>,
    compressed: Arc<AtomicUsize>,
}

impl Gateway {
    async fn serve(&self, api: &Api) -> std::io::Result<String> {
        let Self { is_busy, compressed } = self.clone();
        let lose = move |mut response: Response<Full<Bytes>>| {
            let is_served = response.status() == StatusCode::OK;
            if is_served && is_busy.swap(false, Ordering::Relaxed) {
                response = Response::new(Full::default());
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            response
        };
        let service = ServiceBuilder::new()
            .map_response(move |response: Response<_>| {
                let is_compressed = response.headers().contains_key(CONTENT_ENCODING);
                compressed.fetch_add(usize::from(is_compressed), Ordering::Relaxed);
                response
            })
            .layer(CompressionLayer::new())
            .map_response(lose)
            .service(api.clone());
        server::serve(service).await
    }
}
