//! A proxy in a separate process, and its memory usage.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use tokio::net::TcpListener;
use tower::BoxError;

use crate::options::Role;
use crate::proxy;

/// Prints the proxy's origin, and serves until the parent process ends.
pub(crate) async fn serve(role: Role) -> Result<(), BoxError> {
    let router = match role {
        Role::WithToken { upstream, token_endpoint } => {
            proxy::with_token(&upstream, &token_endpoint)?
        }
        Role::PassThrough { upstream } => proxy::pass_through(&upstream)?,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let parent_ended = tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink()));
    tokio::select! {
        served = axum::serve(listener, router) => served?,
        ended = parent_ended => drop(ended?),
    }
    Ok(())
}

/// A handle to a proxy process. Dropping it kills the process.
pub(crate) struct Process {
    child: Child,
    pub(crate) origin: String,
}

impl Process {
    pub(crate) fn start(role: &Role) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(role.to_arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut process = Self { child, origin: String::new() };
        BufReader::new(stdout).read_line(&mut process.origin)?;
        process.origin.truncate(process.origin.trim_end().len());
        Ok(process)
    }

    /// Returns the process's memory usage, or `None` on systems other than Linux.
    pub(crate) fn memory(&self) -> Option<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let field = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix(" kB")?.parse().ok()
        };
        Some(Memory { now: field("VmRSS:")?, peak: field("VmHWM:")? })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails if the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Resident memory, in KiB.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) now: u64,
    pub(crate) peak: u64,
}
