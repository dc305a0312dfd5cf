//! A `redis-server` on loopback that keeps nothing.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tower::BoxError;

/// Killed when it is dropped.
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
            .map_err(|error| format!("redis-server: {error}; a URL names one that is there"))?;
        let mut server = Self { child, url: format!("redis://{address}") };
        let ready = async {
            while TcpStream::connect(address).await.is_err() {
                if let Some(status) = server.child.try_wait()? {
                    return Err(format!("redis-server has ended: {status}").into());
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
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
