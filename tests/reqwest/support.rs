//! A server on loopback, a source of tokens, and both kinds of clients.

use std::future::ready;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::Full;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use tower_oauth2::http_client::{AuthorizedClient, OAuth2Middleware};
use tower_oauth2::testing::ScriptedSource;
use tower_oauth2::{BoxError, OAuth2Layer, Origins};
use tower_oauth2_testkit::{Seen, server};

pub use tower_oauth2_testkit::{credentials, hour, tokens, unreachable_url};

/// An HTTP/1.1 server that records its requests, and ends with the runtime.
#[derive(Clone)]
pub struct Server {
    address: SocketAddr,
    requests: Seen,
}

impl Server {
    /// Starts a server that reads each request and answers with the result of `handler`.
    pub async fn start(
        handler: impl Fn(&Request<Bytes>) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        let handler = Arc::new(handler);
        let (address, requests) = server(move |request| ready(handler(&request))).await;
        Self { address, requests }
    }

    /// Accepts `token-<n>` from `n` on. Earlier tokens are revoked.
    pub async fn accepting_from(first: usize) -> Self {
        Self::start(move |request| respond(if number(request) >= first { 200 } else { 401 })).await
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn requests(&self) -> Vec<Request<Bytes>> {
        self.requests.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// Returns the body of each request.
    pub fn bodies(&self) -> Vec<Bytes> {
        self.requests().into_iter().map(Request::into_body).collect()
    }

    /// Returns the `Authorization` header of each request. It is empty if there is none.
    pub fn authorizations(&self) -> Vec<String> {
        let text = |request: &Request<Bytes>| {
            request.headers().get(AUTHORIZATION).map_or("", |value| value.to_str().unwrap()).into()
        };
        self.requests().iter().map(text).collect()
    }
}

/// Returns the number of the request's token, or 0.
fn number(request: &Request<Bytes>) -> usize {
    let token = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let number = token.and_then(|token| token.rsplit_once("token-"));
    number.map_or(0, |(_, number)| number.parse().unwrap())
}

pub fn respond(status: u16) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::default()).unwrap()
}

pub fn redirect(status: u16, location: &str) -> Response<Full<Bytes>> {
    Response::builder().status(status).header("location", location).body(Full::default()).unwrap()
}

/// A client of either kind.
pub enum Http {
    Client(AuthorizedClient),
    Middleware(ClientWithMiddleware),
}

impl Http {
    /// Sends a request through the layer.
    pub async fn send(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, BoxError> {
        match self {
            Self::Client(client) => client.send(request).await,
            Self::Middleware(client) => Ok(client.execute(request.build()?).await?),
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Client(_) => "AuthorizedClient",
            Self::Middleware(_) => "OAuth2Middleware",
        }
    }
}

/// Creates a client of each kind, each with its own source.
pub fn clients(http: &reqwest::Client) -> [(Http, ScriptedSource); 2] {
    clients_with(http, |layer| layer)
}

/// Creates a client of each kind, each over a layer with these settings.
pub fn clients_with(
    http: &reqwest::Client,
    change: impl Fn(OAuth2Layer) -> OAuth2Layer,
) -> [(Http, ScriptedSource); 2] {
    let sources = [source(), source()];
    let [one, other] = sources.each_ref().map(|source| change(layer(source)));
    let client = Http::Client(AuthorizedClient::new(http.clone(), one));
    let middleware = ClientBuilder::new(http.clone()).with(OAuth2Middleware::new(other)).build();
    let [one, other] = sources;
    [(client, one), (Http::Middleware(middleware), other)]
}

/// Creates a source of `token-1`, `token-2` and so on, which live for an hour.
pub fn source() -> ScriptedSource {
    ScriptedSource::tokens(hour)
}

pub fn layer(source: &ScriptedSource) -> OAuth2Layer {
    OAuth2Layer::new(tokens(source), Origins::any())
}

/// Creates a client without redirects.
pub fn no_redirects() -> reqwest::Client {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// Keeps a paused clock from moving while the runtime waits for the network.
///
/// A paused clock moves to the next timer as soon as no task can run, but not while there is a
/// blocking task.
pub struct FrozenClock {
    _end: mpsc::Sender<()>,
}

impl FrozenClock {
    pub fn new() -> Self {
        let (end, ended) = mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || ended.recv());
        Self { _end: end }
    }
}
