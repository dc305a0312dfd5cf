//! One of the processes: it sends a request for each line that it reads, and prints the status.

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
    // The store connects with its first operation. Without a server there is nothing to show.
    store.get("connection").await?;

    let http = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let credentials = Credentials::new(
        token_endpoint,
        ClientAuth::client_secret_basic(CLIENT_ID, CLIENT_SECRET),
    )?;
    let source = ServiceBuilder::new()
        // A machine that is busy with all of the processes may take its time.
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

/// Another process that does so. Killed when it is dropped.
pub(crate) struct Member {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Member {
    pub(crate) fn start(arguments: [&str; 4]) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("member")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let answers = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Ok(Self { child, answers })
    }

    /// Tells the process to send a request.
    pub(crate) fn begin(&mut self) -> Result<(), BoxError> {
        let stdin = self.child.stdin.as_mut().expect("stdin is piped");
        stdin.write_all(b"\n").or_else(|_| Err(self.failure()?.into()))
    }

    /// Returns the status of the response.
    pub(crate) fn end(&mut self) -> Result<String, BoxError> {
        let mut status = String::new();
        match self.answers.read_line(&mut status)? {
            0 => Err(self.failure()?.into()),
            _ => Ok(status.trim_end().to_owned()),
        }
    }

    /// Returns what the process has said about its end.
    fn failure(&mut self) -> io::Result<String> {
        let mut said = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            stderr.read_to_string(&mut said)?;
        }
        let status = self.child.wait()?;
        Ok(format!("a process has ended ({status}): {}", said.trim_end()))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
