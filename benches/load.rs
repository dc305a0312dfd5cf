//! Requests per second through a real server, beside a token that never changes.
//!
//! `cargo bench --bench load`

#![allow(missing_docs)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower::{Layer, Service, ServiceExt};
use tower_http::auth::AddAuthorizationLayer;
use tower_oauth2::{
    AccessToken, ClientAuth, ClientCredentials, ConfigError, OAuth2Layer, Origins, TokenCache,
    TokenRequest,
};

type Body = Full<Bytes>;

const CONCURRENCY: usize = 64;
/// Short, so that whatever else the machine does meets both alike.
const ROUND: Duration = Duration::from_millis(250);
const ROUNDS: usize = 81;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let address = serve().await;
    let http: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
    let secret = "x".repeat(256);
    let fixed = AddAuthorizationLayer::bearer(&secret).as_sensitive(true).layer(http.clone());
    let ours = layer(secret, address).await.layer(http);

    // Connections are made, and caches filled.
    round(fixed.clone(), address).await;
    round(ours.clone(), address).await;
    let (mut of_fixed, mut of_ours, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..ROUNDS {
        // Each goes first as often as the other.
        let (a, b) = if n % 2 == 0 {
            let a = round(fixed.clone(), address).await;
            (a, round(ours.clone(), address).await)
        } else {
            let b = round(ours.clone(), address).await;
            (round(fixed.clone(), address).await, b)
        };
        of_fixed.push(a);
        of_ours.push(b);
        ratios.push(b / a);
    }
    let (a, b) = (median(of_fixed), median(of_ours));
    println!(
        "concurrency {CONCURRENCY}, medians of {ROUNDS} rounds: AddAuthorization {a:.0} requests/s, \
         OAuth2 {b:.0} requests/s, ratio {:.3} (median of the rounds' ratios {:.3})",
        b / a,
        median(ratios),
    );
}

/// Requests per second.
async fn round<S, E>(service: S, address: SocketAddr) -> f64
where
    S: Service<Request<Body>, Response = Response<Incoming>, Error = E> + Clone + Send + 'static,
    S::Future: Send,
    E: Into<tower::BoxError> + Send,
{
    let start = now();
    let end = start + ROUND;
    let mut callers = JoinSet::new();
    for _ in 0..CONCURRENCY {
        let mut service = service.clone();
        callers.spawn(async move {
            let mut count = 0;
            while now() < end {
                let request = request(address);
                let ready = service.ready().await.map_err(Into::into).expect("a ready client");
                let response = ready.call(request).await.map_err(Into::into).expect("a response");
                assert!(response.status().is_success(), "{}", response.status());
                response.into_body().collect().await.expect("a whole body");
                count += 1;
            }
            count
        });
    }
    let count: u32 = callers.join_all().await.into_iter().sum();
    f64::from(count) / (now() - start).as_secs_f64()
}

#[allow(clippy::disallowed_methods, reason = "real time is what is measured")]
fn now() -> Instant {
    Instant::now()
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Four headers, a body of 64 bytes.
fn request(address: SocketAddr) -> Request<Body> {
    Request::post(format!("http://{address}/things/17?page=2"))
        .header("accept", "application/json")
        .header("content-type", "application/json")
        .header("user-agent", "bench/1.0")
        .header("x-request-id", "3fb1c2d4")
        .body(Full::from(Bytes::from_static(&[b'x'; 64])))
        .expect("a valid request")
}

/// With a token in its cache.
async fn layer(secret: String, address: SocketAddr) -> OAuth2Layer {
    let source = tower::service_fn(move |_: TokenRequest| {
        let token = AccessToken::new(&secret);
        async { Ok::<_, ConfigError>(token?.with_expires_in(Duration::from_secs(86_400))) }
    });
    let auth = ClientAuth::client_secret_basic("client-id", "s3cr3t");
    let credentials = ClientCredentials::new("https://auth.example.com/token", auth);
    let tokens = TokenCache::new(credentials.expect("valid credentials"), source);
    tokens.warm().await.expect("the source always answers");
    let origins = Origins::only([format!("http://{address}")]).expect("a valid origin");
    OAuth2Layer::new(tokens, origins)
}

/// A server that reads every request and answers with 64 bytes.
async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("a socket");
            let service = service_fn(|request: Request<Incoming>| async {
                assert!(request.headers().contains_key("authorization"));
                request.into_body().collect().await?;
                let body = Body::from(Bytes::from_static(&[b'y'; 64]));
                Ok::<_, hyper::Error>(Response::new(body))
            });
            let server = hyper::server::conn::http1::Builder::new();
            tokio::spawn(async move {
                // It ends with the client.
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}
