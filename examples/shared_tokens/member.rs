//! One of the processes: it sends a request for each line that it reads, and prints the status.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::timeout::TimeoutLayer;
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_oauth2::{
    ClientAuth, ClientCredentials, OAuth2Layer, Origins, RedisStore, StoreLayer, TokenCache,
    TokenEndpoint,
};

use crate::support::issuer::{CLIENT_ID, CLIENT_SECRET};

pub(crate) async fn run(
    redis: &str,
    prefix: &str,
    token_endpoint: &str,
    api: &str,
) -> Result<(), BoxError> {
    let store = RedisStore::open(redis)?.prefix(prefix);

    let http = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let credentials = ClientCredentials::new(
        token_endpoint,
        ClientAuth::client_secret_basic(CLIENT_ID, CLIENT_SECRET),
    )?;
    let source = ServiceBuilder::new()
        // A machine that is busy with all of the processes may take its time.
        .layer(StoreLayer::new(store).deadline(Duration::from_secs(5)))
        .layer(TimeoutLayer::new(Duration::from_secs(10)))
        .service(TokenEndpoint::new(http.clone()));
    let client = ServiceBuilder::new()
        .layer(OAuth2Layer::new(TokenCache::new(credentials, source), Origins::only([api])?))
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
            .spawn()?;
        let answers = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Ok(Self { child, answers })
    }

    /// Has it send a request.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        self.child.stdin.as_mut().expect("stdin is piped").write_all(b"\n")
    }

    /// The status that the request was answered with.
    pub(crate) fn end(&mut self) -> io::Result<String> {
        let mut status = String::new();
        self.answers.read_line(&mut status)?;
        Ok(status.trim_end().to_owned())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
