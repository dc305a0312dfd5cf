use std::future::Future;
use std::net::TcpListener as Ports;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tower_oauth2::store::{MemcachedStore, TokenStore};

/// Two keys in the format of a layer.
pub const KEY: &str = "00000000000000000000000000000000000000000000000000000000000000aa";
pub const OTHER: &str = "00000000000000000000000000000000000000000000000000000000000000bb";

pub const MINUTE: Duration = Duration::from_secs(60);

/// A memcached process, which is killed on drop.
pub struct Memcached {
    child: Child,
    port: u16,
}

impl Memcached {
    pub async fn start() -> Self {
        // Another process may take the port before memcached starts.
        for _ in 0..5 {
            let port = Ports::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if let Some(child) = spawn(port).await {
                return Self { child, port };
            }
        }
        panic!("memcached does not start");
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns a store that manages its connections.
    pub fn store(&self) -> MemcachedStore {
        MemcachedStore::open(format!("memcached://{}", self.address())).unwrap()
    }

    pub fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Restarts the server on the same port, without data.
    pub async fn start_again(&mut self) {
        self.child = spawn(self.port).await.expect("its port is still free");
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Returns the answer to `lines`, up to and without `MN`.
    pub async fn say(&self, lines: &str) -> String {
        let answer = say(self.port, lines).await.unwrap();
        answer.strip_suffix("MN\r\n").expect("it answers all").to_owned()
    }
}

async fn say(port: u16, lines: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(format!("{lines}\r\nmn\r\nquit\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn spawn(port: u16) -> Option<Child> {
    let mut child = Command::new("memcached")
        // memcached does not run as root without `-u`. Other users ignore the option.
        .args(["-u", "nobody", "-l", "127.0.0.1", "-p", &port.to_string()])
        .stderr(Stdio::null())
        .spawn()
        .expect("memcached is installed");
    for _ in 0..500 {
        // The server of another test may use the port.
        if say(port, "stats")
            .await
            .is_ok_and(|stats| stats.contains(&format!("STAT pid {}\r\n", child.id())))
        {
            return Some(child);
        }
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        sleep(Duration::from_millis(10)).await;
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

impl Drop for Memcached {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that listens on a Unix socket.
pub struct OnSocket {
    child: Child,
    pub path: String,
}

impl OnSocket {
    pub fn start() -> Self {
        let name = format!("tower-oauth2-{}.sock", std::process::id());
        let path = std::env::temp_dir().join(name).to_str().unwrap().to_owned();
        // The server runs as the user of the test.
        let child = Command::new("memcached").args(["-u", "root", "-s", &path]).spawn();
        Self { child: child.expect("memcached is installed"), path }
    }
}

impl Drop for OnSocket {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Waits until `holds`, in real time, because the clock of the server cannot be paused.
pub async fn until<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    let wait = async {
        while !holds().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(MINUTE, wait).await.expect("it comes to pass");
}

/// A server that follows a script for each connection.
pub struct Fake {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Fake {
    /// Creates a server that passes each connection and its number, from 1, to `serve`.
    pub async fn new<F>(serve: impl Fn(usize, Peer) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                tokio::spawn(serve(number, Peer(BufReader::new(stream))));
            }
        });
        Self { port, connections }
    }

    /// Creates a server that answers the first command of the first connection with `answer`.
    ///
    /// If `ends`, that connection gets no further data. All other commands are answered with a
    /// miss.
    pub async fn once(answer: impl Into<Vec<u8>>, ends: bool) -> Self {
        let answer = answer.into();
        Self::new(move |number, mut peer| {
            let answer = answer.clone();
            async move {
                while let Some(command) = peer.command().await {
                    if number > 1 {
                        peer.say(format!("EN O{}\r\n", opaque(&command))).await;
                    } else {
                        peer.say(answer.clone()).await;
                        if ends {
                            return;
                        }
                    }
                }
            }
        })
        .await
    }

    pub fn store(&self) -> MemcachedStore {
        MemcachedStore::open(format!("memcached://127.0.0.1:{}", self.port)).unwrap()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

pub struct Peer(BufReader<TcpStream>);

impl Peer {
    /// Returns the line of the next command, or `None` at the end.
    pub async fn command(&mut self) -> Option<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).await.ok().filter(|&length| length > 0)?;
        if let Some(rest) = line.strip_prefix("ms ") {
            let length: usize = rest.split(' ').nth(1)?.parse().ok()?;
            self.0.read_exact(&mut vec![0; length + 2]).await.ok()?;
        }
        Some(line.trim_end().to_owned())
    }

    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.write_all(bytes.as_ref()).await.is_ok()
    }
}

/// Returns the number that the answer to `command` repeats.
pub fn opaque(command: &str) -> &str {
    command.split(' ').find_map(|word| word.strip_prefix('O')).unwrap()
}

/// Returns the text of the error of `get`, which must end in time.
pub async fn get_error(store: &MemcachedStore) -> String {
    let answer = timeout(MINUTE, store.get(KEY)).await.expect("it does not hang");
    answer.expect_err("it fails").to_string()
}
