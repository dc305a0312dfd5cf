use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tower_oauth2::store::MemcachedStore;

use super::{MAX_WAIT, Process, free_port};

/// A `memcached` on its own port.
pub struct Memcached {
    /// `None` while the server is stopped.
    process: Option<Process>,
    port: u16,
}

impl Memcached {
    pub async fn start() -> Self {
        // Another process may take the port before memcached starts.
        for _ in 0..20 {
            let port = free_port();
            if let Some(process) = spawn(port).await {
                return Self { process: Some(process), port };
            }
        }
        panic!("memcached does not start");
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn url(&self) -> String {
        format!("memcached://{}", self.address())
    }

    /// Returns a store that manages its connections.
    pub fn store(&self) -> MemcachedStore {
        MemcachedStore::open(self.url()).unwrap()
    }

    /// Kills the server, which loses its data.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts a stopped server on the same port, without data.
    pub async fn start_again(&mut self) {
        self.process = Some(spawn(self.port).await.expect("its port is still free"));
    }

    /// Stops all threads of the server, like a network or machine that hangs.
    pub fn pause(&self) {
        self.process.as_ref().expect("the server runs").signal("STOP");
    }

    pub fn resume(&self) {
        self.process.as_ref().expect("the server runs").signal("CONT");
    }

    /// Returns the answer to `lines`, up to and without `MN`.
    pub async fn say(&self, lines: &str) -> String {
        let answer = say(self.port, lines).await.unwrap();
        answer.strip_suffix("MN\r\n").expect("the server answers all lines").to_owned()
    }
}

async fn say(port: u16, lines: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(format!("{lines}\r\nmn\r\nquit\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Returns `None` if another process uses the port.
async fn spawn(port: u16) -> Option<Process> {
    let port_text = port.to_string();
    // memcached does not run as root without `-u`. Other users ignore the option.
    let arguments = ["-u", "nobody", "-l", "127.0.0.1", "-p", &port_text];
    let mut process = Process::start("memcached", &arguments, &[]);
    let pid = format!("STAT pid {}\r\n", process.id());
    let wait = async {
        while !process.has_ended() {
            // The server of another test may use the port.
            if say(port, "stats").await.is_ok_and(|stats| stats.contains(&pid)) {
                return true;
            }
            sleep(Duration::from_millis(10)).await;
        }
        false
    };
    let is_ready = timeout(MAX_WAIT, wait).await.unwrap_or_else(|_| panic!("{}", process.log()));
    is_ready.then_some(process)
}

/// A `memcached` that listens on a Unix socket.
pub struct OnSocket {
    _process: Process,
    pub path: String,
}

impl OnSocket {
    pub fn start() -> Self {
        // The server runs as the user of the test.
        let process = Process::start("memcached", &["-u", "root", "-s", "socket"], &[]);
        let path = process.path("socket").to_str().unwrap().to_owned();
        Self { _process: process, path }
    }
}
