//! A token endpoint and an API on loopback, in one server, with TLS or without.

use std::io::{self, BufRead, BufReader, Write};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, LOCATION};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub use crate::certificates::Ca;

/// The access token of `/jwt`: `{"alg":"RS256","typ":"at+jwt"}` and `{"iss":"issuer","sub":"alf"}`.
pub const JWT: &str =
    "eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJpc3MiOiJpc3N1ZXIiLCJzdWIiOiJhbGYifQ.c2lnbmF0dXJl";

/// Issues `token-1`, `token-2`, ... and records every request.
pub struct Server {
    pub origin: String,
    seen: Arc<Mutex<Vec<Request<Bytes>>>>,
}

impl Server {
    pub async fn start() -> Self {
        Self::listen(None).await
    }

    pub async fn start_tls(ca: &Ca) -> Self {
        Self::listen(Some(ca.server())).await
    }

    /// Starts a server for clients with a certificate.
    pub async fn start_mtls(ca: &Ca) -> Self {
        Self::listen(Some(ca.mutual_server())).await
    }

    async fn listen(tls: Option<ServerConfig>) -> Self {
        let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let origin = format!("{scheme}://{}", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Vec<Request<Bytes>>>>::default();
        let log = seen.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (log, acceptor) = (log.clone(), acceptor.clone());
                tokio::spawn(async move {
                    let Some(acceptor) = acceptor else {
                        return serve(stream, log).await;
                    };
                    // A client that does not trust this server closes the connection.
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, log).await;
                    }
                });
            }
        });
        Self { origin, seen }
    }

    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    pub fn seen(&self) -> Vec<Request<Bytes>> {
        self.seen.lock().unwrap().clone()
    }

    pub fn token_requests(&self) -> Vec<Request<Bytes>> {
        self.seen().into_iter().filter(|request| request.uri().path() == "/token").collect()
    }

    pub fn api_requests(&self) -> Vec<Request<Bytes>> {
        self.seen().into_iter().filter(|request| request.uri().path() != "/token").collect()
    }
}

/// Starts a server that answers one request with `response`, and returns its origin. The server
/// then closes the connection.
pub fn raw(response: &'static str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        // Reads to the end of the head, because unread data would reset the connection.
        let mut lines = BufReader::new(&stream).lines();
        while !lines.next().unwrap().unwrap().is_empty() {}
        (&stream).write_all(response.as_bytes()).unwrap();
    });
    origin
}

/// Starts a server whose responses never end, and returns its origin.
pub fn endless() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut lines = BufReader::new(&stream).lines();
                while !lines.next().unwrap().unwrap().is_empty() {}
                // The client closes the connection at its limit.
                let mut sent = (&stream).write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                while sent.is_ok() {
                    sent = (&stream).write_all(&[b'x'; 64 * 1024]);
                }
            });
        }
    });
    origin
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    log: Arc<Mutex<Vec<Request<Bytes>>>>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let log = log.clone();
        async move {
            let (head, body) = request.into_parts();
            let request = Request::from_parts(
                head,
                body.collect().await.map_err(io::Error::other)?.to_bytes(),
            );
            let before = {
                let mut log = log.lock().unwrap();
                log.push(request.clone());
                log.iter().filter(|request| request.uri().path() == "/token").count()
            };
            answer(&request, before).ok_or_else(|| io::Error::other("hung up"))
        }
    });
    // Some tests end a connection early.
    let server = Builder::new(TokioExecutor::new());
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

/// Returns the response that the path selects. `None` closes the connection.
fn answer(request: &Request<Bytes>, token_requests: usize) -> Option<Response<Full<Bytes>>> {
    let token = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let is_second = token == Some("Bearer token-2");
    Some(match request.uri().path() {
        "/token" if request.headers().contains_key("dpop") => {
            let body = format!(
                r#"{{"access_token":"token-{token_requests}","token_type":"DPoP","expires_in":3600}}"#
            );
            response(StatusCode::OK, body)
        }
        "/token" => {
            let body = format!(r#"{{"access_token":"token-{token_requests}","expires_in":3600}}"#);
            response(StatusCode::OK, body)
        }
        "/jwt" => {
            let body = format!(r#"{{"access_token":"{JWT}","refresh_token":"refresh-1"}}"#);
            response(StatusCode::OK, body)
        }
        "/marked" => response(StatusCode::OK, "\u{feff}{\"access_token\":\"token-1\"}"),
        "/apigee" => {
            response(StatusCode::OK, r#"{"access_token":"token-1","token_type":"BearerToken"}"#)
        }
        // Repeats the request, and has codes for a terminal.
        "/described" => {
            let sent = std::str::from_utf8(request.body()).ok()?.replace('"', "'");
            let body = format!(
                r#"{{"error":"no_such_scope","error_description":"\u001b[31mno\u202e scope in {sent}, {}"}}"#,
                "x".repeat(1000),
            );
            response(StatusCode::BAD_REQUEST, body)
        }
        "/realm/.well-known/openid-configuration" | "/metadata" | "/metadata/post" => {
            let host = request.headers().get(HOST)?.to_str().ok()?;
            let issuer = format!("http://{host}/realm");
            let methods = match request.uri().path() {
                "/metadata/post" => r#"["client_secret_post"]"#,
                "/metadata" => r#"["client_secret_basic","private_key_jwt"]"#,
                _ => r#"["client_secret_basic"]"#,
            };
            let body = format!(
                r#"{{"issuer":"{issuer}","token_endpoint":"http://{host}/token","token_endpoint_auth_methods_supported":{methods}}}"#
            );
            response(StatusCode::OK, body)
        }
        path if path.starts_with("/.well-known/") => response(StatusCode::NOT_FOUND, ""),
        "/invalid-client" => response(StatusCode::UNAUTHORIZED, r#"{"error":"invalid_client"}"#),
        "/hang-up" => return None,
        "/refused" => response(StatusCode::UNAUTHORIZED, "refused"),
        "/busy" => response(StatusCode::SERVICE_UNAVAILABLE, "busy"),
        "/moved" => {
            let mut response = response(StatusCode::FOUND, "");
            response
                .headers_mut()
                .insert(LOCATION, HeaderValue::from_static("/echo?code=s3cr3t-of-the-client"));
            response
        }
        "/second-token-only" if !is_second => response(StatusCode::UNAUTHORIZED, ""),
        _ => response(StatusCode::OK, request.body().clone()),
    })
}

fn response(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}
