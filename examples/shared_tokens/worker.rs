//! A worker process. It sends a request for each line that it reads from stdin, and prints the
//! status of the response.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::timeout::TimeoutLayer;
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_oauth2::store::{RedisStore, TokenStore, TokenStoreLayer};
use tower_oauth2::{ClientAuth, Credentials, OAuth2Layer, Origins, TokenEndpoint, Tokens};

use crate::support::issuer::{CLIENT_ID, CLIENT_SECRET};

pub(crate) async fn run(
    redis: &str,
    prefix: &str,
    token_endpoint: &str,
    api: &str,
) -> Result<(), BoxError> {
    let store = RedisStore::open(redis)?.prefix(prefix)?;
    // The store connects with its first operation. This example fails early if there is no server.
    store.get("connection").await?;

    let http = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let credentials = Credentials::new(
        token_endpoint,
        ClientAuth::client_secret_basic(CLIENT_ID, CLIENT_SECRET),
    )?;
    let source = ServiceBuilder::new()
        // The default deadline can be too short when all processes run on one busy machine.
        .layer(TokenStoreLayer::new(store).deadline(Duration::from_secs(5)))
        .layer(TimeoutLayer::new(Duration::from_secs(10)))
        .service(TokenEndpoint::new(http.clone()));
    let client = ServiceBuilder::new()
        .layer(OAuth2Layer::new(Tokens::new(credentials, source), Origins::only([api])?))
        .service(http);

    for line in io::stdin().lines() {
        line?;
        let request = Request::get(api).body(Full::default())?;
        println!("{}", client.clone().oneshot(request).await?.status().as_u16());
    }
    Ok(())
}

/// A handle to a worker process. Dropping it kills the process.
pub(crate) struct Worker {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Worker {
    pub(crate) fn start(arguments: [&str; 4]) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("worker")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Ok(Self { child, stdout })
    }

    /// Tells the process to send a request, and does not wait for the response.
    pub(crate) fn begin(&mut self) -> Result<(), BoxError> {
        let stdin = self.child.stdin.as_mut().expect("stdin is piped");
        stdin.write_all(b"\n").or_else(|_| Err(self.failure()?.into()))
    }

    /// Waits for the response, and returns its status.
    pub(crate) fn end(&mut self) -> Result<String, BoxError> {
        let mut status = String::new();
        match self.stdout.read_line(&mut status)? {
            0 => Err(self.failure()?.into()),
            _ => Ok(status.trim_end().to_owned()),
        }
    }

    /// Returns the error that the process printed before it ended.
    fn failure(&mut self) -> io::Result<String> {
        let mut message = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            stderr.read_to_string(&mut message)?;
        }
        let status = self.child.wait()?;
        Ok(format!("worker process ended ({status}): {}", message.trim_end()))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Fails if the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
