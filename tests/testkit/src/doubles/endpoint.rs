use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::FutureExt;
use http::Response;
use http_body_util::{BodyExt, Full};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tower::{BoxError, ServiceExt};
use tower_oauth2::source::TokenRetry;
use tower_oauth2::testing::{RecordedRequest, Reply, ScriptedEndpoint};
use tower_oauth2::{AccessToken, Credentials, TokenEndpoint, TokenError, TokenRequest};

use super::server::{client, raw_server};

/// A token endpoint on loopback that sends given bytes and records every request.
#[derive(Clone)]
pub struct RawEndpoint {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl RawEndpoint {
    /// Responds to every request with these bytes, and leaves the connection open.
    pub async fn answering(response: impl Into<Bytes>) -> Self {
        let response = response.into();
        Self::new(move |stream, requests| {
            let response = response.clone();
            async move {
                while let Some(request) = read_request(&stream).await {
                    requests.lock().unwrap().push(request);
                    if send(&stream, &response).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    /// Sends these bytes, and then closes the connection.
    pub async fn closing_after(response: impl Into<Bytes>) -> Self {
        let response = response.into();
        Self::acting(move |stream| {
            let response = response.clone();
            async move { send(&stream, &response).await.unwrap() }
        })
        .await
    }

    /// Reads one request of each connection, and then passes the connection to `act`.
    pub async fn acting<F>(act: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let act = Arc::new(act);
        Self::new(move |stream, requests| {
            let act = act.clone();
            async move {
                if let Some(request) = read_request(&stream).await {
                    requests.lock().unwrap().push(request);
                    act(stream).await;
                }
            }
        })
        .await
    }

    /// Sends these bytes, and then resets the connection.
    pub async fn resetting_after(response: impl Into<Bytes>) -> Self {
        let response = response.into();
        Self::new(move |stream, requests| {
            let response = response.clone();
            async move {
                if let Some(head) = read_head(&stream).await {
                    requests.lock().unwrap().push(head);
                    // A socket that is closed with unread data in it is reset.
                    stream.peek(&mut [0]).await.unwrap();
                    send(&stream, &response).await.unwrap();
                }
            }
        })
        .await
    }

    async fn new<F>(
        handler: impl Fn(TcpStream, Arc<Mutex<Vec<String>>>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let log = requests.clone();
        let address = raw_server(move |stream| handler(stream, log.clone())).await;
        Self { address, requests }
    }

    pub fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }

    /// Returns the requests, head and body, in order.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

/// Reads everything up to the empty line. Returns `None` if the client closed the connection.
async fn read_head(stream: &TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(read_byte(stream).await?);
    }
    Some(String::from_utf8(head).unwrap())
}

async fn read_request(stream: &TcpStream) -> Option<String> {
    let head = read_head(stream).await?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = Vec::new();
    for _ in 0..length.map_or(0, |length| length.parse().unwrap()) {
        body.push(read_byte(stream).await?);
    }
    Some(head + &String::from_utf8(body).unwrap())
}

async fn read_byte(stream: &TcpStream) -> Option<u8> {
    let mut byte = [0];
    loop {
        stream.readable().await.ok()?;
        match stream.try_read(&mut byte) {
            Ok(0) => return None,
            Ok(_) => return Some(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
}

/// Sends all of these bytes.
pub async fn send(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns an HTTP/1.1 response with a `Content-Length`. `headers` are whole lines.
pub fn response(status: u16, headers: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut all = head(status, headers);
    all.truncate(all.len() - 2);
    all.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    all.extend_from_slice(body);
    all
}

/// Returns the head of an HTTP/1.1 response without a `Content-Length`.
pub fn head(status: u16, headers: &[&str]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Reason\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// Requests a token over a real client, without retries.
pub async fn ask(credentials: Credentials) -> Result<AccessToken, TokenError> {
    let endpoint = TokenEndpoint::new(client()).retry(TokenRetry::none());
    endpoint.oneshot(TokenRequest::new(credentials)).await
}

/// Creates the HTTP client of a token endpoint. It answers request number n, from 1, with
/// `script(n)`.
pub fn scripted(
    script: impl Fn(usize) -> Result<Response<Full<Bytes>>, BoxError> + Send + Sync + 'static,
) -> ScriptedEndpoint {
    ScriptedEndpoint::new(move |n| match script(n) {
        Ok(response) => reply(response),
        Err(error) => Reply::connection_error(error),
    })
}

fn reply(response: Response<Full<Bytes>>) -> Reply {
    let (head, body) = response.into_parts();
    let body = body.collect().now_or_never().expect("the body is complete").unwrap().to_bytes();
    let reply = Reply::response(head.status.as_u16(), body);
    head.headers.iter().fold(reply, |reply, (name, value)| reply.header(name, value))
}

/// Returns when the requests were received.
pub fn times(endpoint: &ScriptedEndpoint) -> Vec<Instant> {
    endpoint.requests().iter().map(RecordedRequest::received_at).collect()
}

/// Returns the URL of a token endpoint at a port without a listener.
pub async fn unreachable_url() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/token", listener.local_addr().unwrap())
}
