use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A memcached server that follows a script for each connection.
pub struct FakeMemcached {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl FakeMemcached {
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

    pub fn url(&self) -> String {
        format!("memcached://127.0.0.1:{}", self.port)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// One connection to a client.
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
