//! Runs examples as processes.

use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::server::Server;
pub use crate::{File, SECRET};

pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn lines(&self) -> Vec<&str> {
        self.stderr.lines().collect()
    }
}

/// Runs an example to its end, and checks that it prints no secret.
pub async fn run(mut command: Command) -> Ended {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let ended = Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    let printed = format!("{}{}", ended.stdout, ended.stderr);
    for secret in [SECRET, &BASE64_STANDARD.encode(format!("client-id:{SECRET}")), "token-1"] {
        assert!(!printed.contains(secret), "{printed}");
    }
    ended
}

/// Returns the program of an example of tower-oauth2.
///
/// `cargo test` builds the examples beside the tests. With `--test`, it builds only what is named.
pub fn example(name: &str) -> Command {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.extend(["examples", name]);
    path.set_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        path.exists(),
        "{} does not exist: build it with \
         `cargo build --package tower-oauth2 --features full --examples`",
        path.display(),
    );
    Command::new(path)
}

/// Returns `fetch`, with the secret in its environment.
pub fn fetch<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = example("fetch");
    command.args(arguments).env("CLIENT_SECRET", SECRET);
    command
}

/// Returns `fetch` with its required arguments.
pub fn fetch_from<'a>(
    server: &Server,
    path: &str,
    arguments: impl IntoIterator<Item = &'a str>,
) -> Command {
    let mut command = fetch(["--token-endpoint", &server.at("/token"), "--client-id", "client-id"]);
    command.args(arguments).arg(server.at(path));
    command
}
