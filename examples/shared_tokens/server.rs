//! A `redis-server` on loopback without persistence.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tower::BoxError;

/// A running Redis server. Dropping it kills the server.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
}

impl Server {
    pub(crate) async fn start() -> Result<Self, BoxError> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let port = address.port().to_string();
        let child = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| {
                format!("failed to start redis-server: {error}; install it, or pass a server's URL")
            })?;
        let mut server = Self { child, url: format!("redis://{address}") };
        let ready = async {
            while TcpStream::connect(address).await.is_err() {
                if let Some(status) = server.child.try_wait()? {
                    return Err(format!("redis-server ended: {status}").into());
                }
                sleep(Duration::from_millis(10)).await;
            }
            Ok::<_, BoxError>(())
        };
        timeout(Duration::from_secs(30), ready).await??;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails if the server has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
