//! Shows the layer among other layers: tracing, retries, a timeout, limits and decompression.
//!
//! Log events go to stderr.

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
        // One span for each call, which includes its retries and replays.
        .layer(TraceLayer::new_for_http().on_request(()).on_eos(()))
        .layer(RetryLayer::new(WhenBusy { left: 3, pause: Duration::from_millis(20) }))
        // Limits one attempt, including the wait for a token and the replay.
        .timeout(Duration::from_secs(30))
        // Inside the retries, so that each attempt is sent with a token that is valid at that time.
        .layer(OAuth2Layer::new(tokens, Origins::only([api])?))
        // The limits apply to requests that are sent, replays included. A call that waits for a
        // token does not count. The buffer is needed because `OAuth2Layer` clones its inner
        // service, and a rate limit cannot be cloned.
        .buffer(64)
        .rate_limit(1000, Duration::from_secs(1))
        .concurrency_limit(8)
        .layer(DecompressionLayer::new())
        .service(http))
}

/// Retries a request after a pause when the response is 503. It does not retry after a 401, which
/// `OAuth2Layer` handles.
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

    report.begin("PUT and GET of 14 KB, with compressed responses");
    let put = send(&mut client, Request::put(&url).body(people.clone().into())?).await?;
    report.expect("PUT returns 200", put.status == StatusCode::OK);
    let get = send(&mut client, Request::get(&url).body(Full::default())?).await?;
    report.expect("GET returns what was put", get.body == people);
    report
        .expect("both responses were compressed", gateway.compressed.load(Ordering::Relaxed) == 2);
    let wire = Wire { api: 2, rejected: 0, token_endpoint: 1 };
    report.end(wire, "C1, C2: one token request, however many calls");

    report.begin("GET from an API that returns 503 once");
    gateway.is_busy.store(true, Ordering::Relaxed);
    let get = send(&mut client, Request::get(&url).body(Full::default())?).await?;
    report.expect("the second attempt returns 200", get.status == StatusCode::OK);
    report.expect("the request was not replayed", get.replayed.is_none());
    let wire = Wire { api: 2, rejected: 0, token_endpoint: 0 };
    report.end(wire, "R7: a 503 causes a retry, and the token is kept");

    report.begin("PUT with a token that was revoked");
    issuer.revoke_all();
    let put = send(&mut client, Request::put(&url).body(people.clone().into())?).await?;
    report.expect("the caller gets 200", put.status == StatusCode::OK);
    report.expect("the request was replayed", put.replayed == Some(Replayed::Yes));
    let is_intact = api.bodies().ends_with(&[Digest::of([&people]); 2]);
    report.expect("the whole body arrived both times", is_intact);
    let wire = Wire { api: 2, rejected: 1, token_endpoint: 1 };
    report.end(wire, "R1, R3: one replay, byte for byte, with a fresh token");

    report.begin("PUT with a token that was revoked, to an API that also returns 503 once");
    issuer.revoke_all();
    gateway.is_busy.store(true, Ordering::Relaxed);
    let put = send(&mut client, Request::put(&url).body(people.clone().into())?).await?;
    report.expect("the caller gets 200", put.status == StatusCode::OK);
    let is_intact = api.bodies().ends_with(&[Digest::of([&people]); 3]);
    report.expect("the whole body arrived three times", is_intact);
    let wire = Wire { api: 3, rejected: 1, token_endpoint: 1 };
    report.end(wire, "R1: one replay after the 401, and one retry after the 503");

    report.begin("20 GETs at once, of which at most 8 are in flight");
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let (mut client, request) = (client.clone(), Request::get(&url).body(Full::default())?);
        calls.spawn(async move { send(&mut client, request).await });
    }
    let mut served = 0;
    while let Some(answer) = calls.join_next().await {
        served += usize::from(answer??.body == people);
    }
    report.expect("every caller gets the response", served == 20);
    let wire = Wire { api: 20, rejected: 0, token_endpoint: 0 };
    report.end(wire, "C1: a valid token is reused");

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

/// A gateway in front of the API. It compresses responses, and replaces the next 200 with a 503 if
/// `is_busy` is set.
#[derive(Clone, Default)]
struct Gateway {
    is_busy: Arc<AtomicBool>,
    compressed: Arc<AtomicUsize>,
}

impl Gateway {
    async fn serve(&self, api: &Api) -> std::io::Result<String> {
        let Self { is_busy, compressed } = self.clone();
        let replace_one = move |mut response: Response<Full<Bytes>>| {
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
            .map_response(replace_one)
            .service(api.clone());
        server::serve(service).await
    }
}
