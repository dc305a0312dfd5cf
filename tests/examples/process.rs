//! Runs examples as processes, and creates files for them.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::server::Server;

pub const SECRET: &str = "s3cr3t-of-the-client";

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

/// Returns the program of an example, which `cargo test` builds beside this one.
pub fn example(name: &str) -> Command {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.extend(["examples", name]);
    path.set_extension(std::env::consts::EXE_EXTENSION);
    assert!(path.exists(), "{} is not there: run `cargo build --examples`", path.display());
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

/// A file of this process, which is removed on drop.
pub struct File(PathBuf);

impl File {
    pub fn new(name: &str, content: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{count}-{name}", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
