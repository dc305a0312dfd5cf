use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tower::BoxError;

pub type Client = hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>;

/// Creates a real HTTP client.
pub fn client() -> Client {
    hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http()
}

/// The requests that a server received, with their whole bodies.
pub type Seen = Arc<Mutex<Vec<Request<Bytes>>>>;

/// Starts a real HTTP/1.1 server on loopback, which ends with the runtime.
pub async fn server<F>(
    handler: impl Fn(Request<Bytes>) -> F + Clone + Send + Sync + 'static,
) -> (SocketAddr, Seen)
where
    F: Future<Output = Response<Full<Bytes>>> + Send,
{
    let seen = Seen::default();
    let log = seen.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (log, handler) = (log.clone(), handler.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (log, handler) = (log.clone(), handler.clone());
                async move {
                    let (parts, body) = request.into_parts();
                    let request = Request::from_parts(parts, body.collect().await?.to_bytes());
                    log.lock().unwrap().push(request.clone());
                    Ok::<_, BoxError>(handler(request).await)
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (address, seen)
}

/// Starts a server on loopback that passes each connection to `handler`.
pub async fn raw_server<F>(handler: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(handler(stream));
        }
    });
    address
}
