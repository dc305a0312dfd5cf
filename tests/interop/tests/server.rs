//! The servers as child processes, and the requests that they have received.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use serde_json::Value;

use crate::client::{self, Client};
use crate::tls::Certificates;

const MISSING: &str = "`bash tests/interop/run.sh` installs the servers and runs the tests";

/// The limit for the start of a server on a busy machine.
const START: Duration = Duration::from_secs(60);

/// An authorization server and an API in one process. The process ends when this is dropped, or
/// with the process of the tests, because its standard input is closed then.
pub struct Server {
    told: Value,
    child: Child,
    stdin: Option<ChildStdin>,
}

/// A registered client.
pub struct Registered {
    pub id: String,
    pub secret: String,
}

impl Server {
    /// Returns `oidc-provider` for Node, which all tests share.
    pub fn oidc_provider() -> &'static Self {
        static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
        shared(&SERVER, Self::start_oidc_provider)
    }

    /// Starts a server for a test that changes the state of the whole server.
    pub fn oidc_provider_alone() -> Self {
        Self::start_oidc_provider().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns `django-oauth-toolkit`, which all tests share.
    pub fn django_oauth_toolkit() -> &'static Self {
        static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
        shared(&SERVER, || {
            let python = target().join("interop/django-oauth-toolkit/bin/python");
            let mut command = Command::new(&python);
            command.arg(source("django-oauth-toolkit/server.py"));
            Self::start("django-oauth-toolkit", &python, command, &Value::Null)
        })
    }

    fn start_oidc_provider() -> Result<Self, String> {
        let mut command = Command::new("node");
        command.arg(source("oidc-provider/server.mjs"));
        let package = source("oidc-provider/node_modules/oidc-provider/package.json");
        Self::start("oidc-provider", &package, command, &Certificates::get().for_the_server())
    }

    fn start(
        name: &str,
        needed: &Path,
        mut command: Command,
        first: &Value,
    ) -> Result<Self, String> {
        if !needed.exists() {
            return Err(format!("{name}: there is no {}: {MISSING}", needed.display()));
        }
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{number}.log"));
        let failed = |why: &dyn std::fmt::Display| {
            let told = std::fs::read_to_string(&log).unwrap_or_default();
            format!("{name} does not start: {why}. {MISSING}. Its output was:\n{told}")
        };
        let stderr = File::create(&log).map_err(|error| failed(&error))?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(|error| failed(&error))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let mut server = Self { told: Value::Null, child, stdin };
        let stdin = server.stdin.as_mut().expect("standard input is piped");
        // The reason why a process has ended is read below.
        let _ = writeln!(stdin, "{first}");
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read =
                BufReader::new(stdout.expect("standard output is piped")).read_line(&mut line);
            let _ = sender.send(read.map(|_| line));
        });
        let line = receiver.recv_timeout(START).map_err(|error| failed(&error))?;
        let line = line.map_err(|error| failed(&error))?;
        server.told = serde_json::from_str(&line).map_err(|error| failed(&error))?;
        Ok(server)
    }

    /// Returns a value that the server printed at its start, by JSON pointer.
    pub fn told(&self, pointer: &str) -> &str {
        let told = self.told.pointer(pointer).and_then(Value::as_str);
        told.unwrap_or_else(|| panic!("the server told no {pointer}"))
    }

    pub fn client(&self, name: &str) -> Registered {
        let member = |member: &str| {
            let told = self.told.pointer(&format!("/clients/{name}/{member}"));
            told.and_then(Value::as_str).map(ToOwned::to_owned)
        };
        Registered {
            id: member("client_id").unwrap_or_else(|| panic!("no client {name}")),
            secret: member("client_secret").unwrap_or_default(),
        }
    }

    /// Returns the private key of a client, with its `kid`.
    pub fn key(&self, name: &str) -> tower_oauth2::jwt::SigningKey {
        let key = self.told(&format!("/clients/{name}/private_key"));
        let kid = self.told(&format!("/clients/{name}/kid"));
        tower_oauth2::jwt::SigningKey::from_pem(key).unwrap().with_kid(kid)
    }

    /// Returns the statuses of the token endpoint for this client, in order.
    pub async fn token_statuses(&self, client_id: &str) -> Vec<u64> {
        self.token_log(client_id).await.iter().map(status).collect()
    }

    /// Returns the token requests of this client, in order.
    pub async fn token_log(&self, client_id: &str) -> Vec<Value> {
        self.log(|entry: &Value| entry["at"] == "token" && entry["client_id"] == client_id).await
    }

    /// Returns the requests for well-known URLs and their statuses, in order.
    pub async fn discovered(&self) -> Vec<(String, u64)> {
        let seen = self.log(|entry: &Value| entry["at"] == "discovery").await;
        seen.iter()
            .map(|entry| (entry["path"].as_str().unwrap().to_owned(), status(entry)))
            .collect()
    }

    /// Returns the statuses of the API at this path, in order.
    pub async fn api_statuses(&self, path: &str) -> Vec<u64> {
        self.api_log(path).await.iter().map(status).collect()
    }

    /// Returns the requests to the API at this path, in order.
    pub async fn api_log(&self, path: &str) -> Vec<Value> {
        self.log(|entry: &Value| entry["at"] == "api" && entry["path"] == path).await
    }

    async fn log(&self, is_meant: impl Fn(&Value) -> bool) -> Vec<Value> {
        let log = self.control("log").await;
        log.as_array().unwrap().iter().filter(|entry| is_meant(entry)).cloned().collect()
    }

    /// Sends a control request to the process, which is not part of OAuth.
    pub async fn control(&self, what: &str) -> Value {
        let uri = format!("{}/control/{what}", self.told("/api"));
        let http: Client = client::http();
        client::send(http, http::Request::get(uri)).await.body
    }

    /// Revokes a token as its client (RFC 7009).
    pub async fn revoke(&self, client: &Registered, token: &str) {
        let uri = self.told("/revocation_endpoint");
        let answer = client::post_form(uri, client, &[("token", token)]).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// Returns the introspection response for a token, requested by the API (RFC 7662).
    pub async fn introspect(&self, token: &str) -> Value {
        let uri = self.told("/introspection_endpoint");
        let answer = client::post_form(uri, &self.client("api"), &[("token", token)]).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn shared(
    server: &'static OnceLock<Result<Server, String>>,
    start: impl FnOnce() -> Result<Server, String>,
) -> &'static Server {
    server.get_or_init(start).as_ref().unwrap_or_else(|error| panic!("{error}"))
}

fn status(entry: &Value) -> u64 {
    entry["status"].as_u64().unwrap()
}

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Returns the directory into which `setup.sh` installs: the target directory of this build.
fn target() -> PathBuf {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tmp.parent().expect("CARGO_TARGET_TMPDIR has a parent").to_owned()
}

#[test]
fn the_documented_versions_are_tested() {
    let documents = [include_str!("../README.md"), include_str!("../../../src/guide/servers.md")];
    for (server, names) in [
        (Server::oidc_provider(), &["oidc-provider"] as &[&str]),
        (Server::django_oauth_toolkit(), &["django-oauth-toolkit", "django"]),
    ] {
        for name in names {
            let version = server.told(&format!("/versions/{name}"));
            for document in documents {
                assert!(document.contains(&format!(" {version}")), "{name} is {version}");
            }
        }
    }
}
