//! Measures requests per second through a real server, beside a token that never changes.

use std::net::SocketAddr;
use std::time::Duration;

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
use tower::{BoxError, Service, ServiceExt};
use tower_oauth2::replay::ReplayPolicy;
use tower_oauth2::{OAuth2Layer, Origins};

use crate::cases::Body;
use crate::cases::stacks::{Cloning, credentials, endless, fixed, tokens};
use crate::{median, now};

const CONCURRENCY: usize = 64;
/// Short, so that other load of the machine affects all stacks alike.
const ROUND: Duration = Duration::from_millis(150);
const ROUNDS: usize = 81;

const NAMES: [&str; 4] = [
    "`AddAuthorization`",
    "`tower-oauth2`, `ReplayPolicy::never`",
    "`tower-oauth2`",
    "`AddAuthorization`, request and service cloned",
];

pub fn run() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure());
}

async fn measure() {
    let address = serve().await;
    let http: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
    let ours = layer(address).await;
    let never = ours.clone().replay_policy(ReplayPolicy::never()).layer(http.clone());
    let ours = ours.layer(http.clone());
    let plain = fixed(http.clone());
    let cloned = Cloning::new(fixed(http));

    let mut rates = [const { Vec::new() }; NAMES.len()];
    for n in 0..=ROUNDS {
        let mut round_of = [0.0; NAMES.len()];
        for turn in 0..NAMES.len() {
            // Each stack goes first equally often.
            let which = (n + turn) % NAMES.len();
            round_of[which] = match which {
                0 => round(plain.clone(), address).await,
                1 => round(never.clone(), address).await,
                2 => round(ours.clone(), address).await,
                _ => round(cloned.clone(), address).await,
            };
        }
        // The first round opens connections and fills caches.
        if n > 0 {
            rates.iter_mut().zip(round_of).for_each(|(rates, rate)| rates.push(rate));
        }
    }

    println!(
        "| {CONCURRENCY} requests at a time through a server on the same machine | requests per second | \
         beside `AddAuthorization`, median of {ROUNDS} rounds |"
    );
    println!("|---|--:|--:|");
    let plain = rates[0].clone();
    for (name, mut rates) in NAMES.iter().zip(rates) {
        let mut ratios: Vec<_> =
            rates.iter().zip(&plain).map(|(rate, plain)| rate / plain).collect();
        println!("| {name} | {:.0} | {:.3} |", median(&mut rates), median(&mut ratios));
    }
}

/// Returns the requests per second.
async fn round<S, E>(service: S, address: SocketAddr) -> f64
where
    S: Service<Request<Body>, Response = Response<Incoming>, Error = E> + Clone + Send + 'static,
    S::Future: Send,
    E: Into<BoxError> + Send,
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

/// Returns a request with four headers and a body of 64 bytes.
fn request(address: SocketAddr) -> Request<Body> {
    Request::post(format!("http://{address}/things/17?page=2"))
        .header("accept", "application/json")
        .header("content-type", "application/json")
        .header("user-agent", "bench/1.0")
        .header("x-request-id", "3fb1c2d4")
        .body(Full::from(Bytes::from_static(&[b'x'; 64])))
        .expect("a valid request")
}

/// Returns the service with a token in its cache.
async fn layer(address: SocketAddr) -> OAuth2Layer {
    let tokens = tokens(credentials(0), endless());
    tokens.warm().await.expect("the source always answers");
    OAuth2Layer::new(tokens, Origins::only([format!("http://{address}")]).expect("a valid origin"))
}

/// Starts a server that reads every request and answers with 64 bytes.
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
                // The connection ends with the client.
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}
