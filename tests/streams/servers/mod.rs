//! Tests with real servers on loopback: bodies over HTTP/1.1 and HTTP/2 arrive unchanged.

mod early;
mod expect;
mod sizes;
mod trailers;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use ring::digest::{Context as Digest, SHA256};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tower::{BoxError, Layer, ServiceExt};
use tower_oauth2::OAuth2;
use tower_oauth2::replay::{ReplayBody, Replayable, ReplayableLayer};

use crate::support::*;

const LIMIT: usize = 64 * 1024;
const LARGE: usize = 10 * 1024 * 1024;
const SIZES: [usize; 6] = [0, 1, LIMIT - 1, LIMIT, LIMIT + 1, LARGE];

/// The time limit of a test that hangs. No test waits that long.
const GUARD: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

use Protocol::{Http1, Http2};

/// Returns a body of this size in chunks, whose bytes differ by position.
#[derive(Clone, Copy, Debug)]
struct Upload {
    at: usize,
    end: usize,
    chunk: usize,
    is_exact: bool,
}

static DATA: LazyLock<Bytes> = LazyLock::new(|| {
    let mut data = vec![0; LARGE];
    fastrand::Rng::with_seed(17).fill(&mut data);
    data.into()
});

impl Upload {
    fn new(size: usize, is_exact: bool) -> Self {
        Self { at: 0, end: size, chunk: 16 * 1024 - 1, is_exact }
    }

    /// Returns the complete body as a server receives it.
    fn arrived(self) -> Arrived {
        let mut arrived = Arrived::default();
        arrived.add(&DATA[self.at..self.end]);
        arrived
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.at == self.end {
            return Poll::Ready(None);
        }
        let to = self.end.min(self.at + self.chunk);
        let data = DATA.slice(self.at..to);
        self.at = to;
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_exact && self.at == self.end
    }

    fn size_hint(&self) -> SizeHint {
        let left = (self.end - self.at) as u64;
        if self.is_exact { SizeHint::with_exact(left) } else { SizeHint::new() }
    }
}

/// A received body: its length and its SHA-256.
#[derive(Clone)]
struct Arrived {
    len: usize,
    digest: Digest,
    trailers: Option<HeaderMap>,
}

impl Default for Arrived {
    fn default() -> Self {
        Self { len: 0, digest: Digest::new(&SHA256), trailers: None }
    }
}

impl Arrived {
    fn add(&mut self, data: &[u8]) {
        self.len += data.len();
        self.digest.update(data);
    }

    /// Reads until this length or the end. Returns whether the body continues.
    async fn read(&mut self, body: &mut Incoming, until: usize) -> Result<bool, hyper::Error> {
        while self.len < until {
            let Some(frame) = body.frame().await.transpose()? else { return Ok(false) };
            match frame.into_data() {
                Ok(data) => self.add(&data),
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            }
        }
        Ok(true)
    }

    fn key(&self) -> (usize, Vec<u8>, Option<&HeaderMap>) {
        (self.len, self.digest.clone().finish().as_ref().to_vec(), self.trailers.as_ref())
    }
}

impl PartialEq for Arrived {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl fmt::Debug for Arrived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key().fmt(f)
    }
}

/// A request that a server has seen.
#[derive(Clone, Debug)]
struct Seen {
    token: String,
    headers: HeaderMap,
    /// The body, if the server has read it to its end.
    body: Option<Arrived>,
}

/// The reaction of a server to a request with the first token.
#[derive(Clone, Copy, Debug)]
enum First {
    Accepts,
    /// Answers 401 after the whole body.
    RejectsWhole,
    /// Answers 401 after this many bytes.
    RejectsAt(usize, Rest),
}

/// The use of the rest of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// Reads the rest.
    Reads,
    /// Reads the rest, and sends `Connection: close`.
    ReadsAndCloses,
    /// Drops the body: hyper closes the connection, or resets the stream.
    Drops,
}

type Server = Arc<Mutex<Vec<Seen>>>;

async fn handle(
    request: Request<Incoming>,
    first: First,
    server: Server,
) -> Response<Empty<Bytes>> {
    let (parts, mut body) = request.into_parts();
    let token = parts.headers["authorization"].to_str().unwrap().to_owned();
    let is_first = token == "Bearer token-1";
    let at = {
        let mut all = server.lock().unwrap();
        all.push(Seen { token, headers: parts.headers, body: None });
        all.len() - 1
    };
    let mut arrived = Arrived::default();
    let mut response = Response::new(Empty::new());
    let until = match first {
        First::RejectsAt(until, _) if is_first => until,
        _ => usize::MAX,
    };
    if matches!(arrived.read(&mut body, until).await, Ok(false)) {
        server.lock().unwrap()[at].body = Some(arrived.clone());
    }
    if is_first && !matches!(first, First::Accepts) {
        *response.status_mut() = http::StatusCode::UNAUTHORIZED;
    }
    if let (true, First::RejectsAt(_, rest)) = (is_first, first) {
        if rest == Rest::ReadsAndCloses {
            response.headers_mut().insert("connection", HeaderValue::from_static("close"));
        }
        if rest != Rest::Drops {
            tokio::spawn(async move {
                if matches!(arrived.read(&mut body, usize::MAX).await, Ok(false)) {
                    server.lock().unwrap()[at].body = Some(arrived);
                }
            });
        }
    }
    response
}

/// Serves every connection with `handler`, until the runtime ends.
async fn serve<F>(
    protocol: Protocol,
    handler: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
) -> SocketAddr
where
    F: Future<Output = Response<Empty<Bytes>>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let handler = handler.clone();
            let service = service_fn(move |request| {
                let response = handler(request);
                async { Ok::<_, Infallible>(response.await) }
            });
            let io = TokioIo::new(stream);
            // Connections end with errors when uploads are abandoned.
            match protocol {
                Http1 => {
                    let server = hyper::server::conn::http1::Builder::new();
                    tokio::spawn(async move { drop(server.serve_connection(io, service).await) });
                }
                Http2 => {
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    tokio::spawn(async move { drop(server.serve_connection(io, service).await) });
                }
            }
        }
    });
    address
}

type Api<B> = Replayable<OAuth2<Client<HttpConnector, ReplayBody<B>>>>;

/// Returns a real client behind both layers, with a token in the cache.
async fn client<B>(protocol: Protocol, limit: usize, source: &ScriptedSource) -> Api<B>
where
    B: Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    let client = Client::builder(TokioExecutor::new()).http2_only(protocol == Http2).build_http();
    ReplayableLayer::new().limit(limit).layer(warm_layer(source).await.layer(client))
}

fn request<B>(address: SocketAddr, body: B) -> Request<B> {
    Request::post(format!("http://{address}/things")).body(body).unwrap()
}

/// Sends a request within the time limit. A panic in any task fails the test.
async fn send<B>(api: &Api<B>, request: Request<B>) -> Result<Response<Incoming>, BoxError>
where
    B: Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    let call = tokio::spawn(api.clone().oneshot(request));
    tokio::time::timeout(GUARD, call).await.expect("the call hangs").unwrap()
}

/// Uploads to a new server. Returns the response, and the requests that the server has received.
async fn upload(
    protocol: Protocol,
    first: First,
    limit: usize,
    upload: Upload,
) -> (Result<Response<Incoming>, BoxError>, Vec<Seen>) {
    let server = Server::default();
    let log = server.clone();
    let address = serve(protocol, move |request| handle(request, first, log.clone())).await;
    let api = client(protocol, limit, &ScriptedSource::tokens(hour)).await;
    let response = send(&api, request(address, upload)).await;
    let seen = server.lock().unwrap().clone();
    (response, seen)
}
