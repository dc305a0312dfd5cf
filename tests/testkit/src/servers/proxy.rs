use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A proxy between a client and servers, which can lose packets and move an address.
pub struct Proxy {
    port: u16,
    network: Arc<Network>,
    task: JoinHandle<()>,
}

struct Network {
    /// The port for new connections. If it is 0, they lead nowhere and stay open.
    target: AtomicU16,
    /// The number of connections that were accepted.
    accepted: AtomicUsize,
    /// Notified when the current connections become half-open.
    stall: watch::Sender<()>,
    /// Says whether the next answer and its connection are lost.
    loses_answer: AtomicBool,
}

impl Proxy {
    /// Starts a proxy to the server on `port`.
    pub async fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let network = Arc::new(Network {
            target: AtomicU16::new(port),
            accepted: AtomicUsize::new(0),
            stall: watch::Sender::new(()),
            loses_answer: AtomicBool::new(false),
        });
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(accept(listener, network.clone()));
        Self { port, network, task }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Leads new connections to the server on `port`.
    pub fn lead_to(&self, port: u16) {
        self.network.target.store(port, Ordering::SeqCst);
    }

    /// Accepts new connections without forwarding data.
    pub fn lead_nowhere(&self) {
        self.lead_to(0);
    }

    /// Makes the current connections half-open: they stay open without forwarding data.
    pub fn stall(&self) {
        self.network.stall.send_replace(());
    }

    /// Closes a connection before it forwards the next answer.
    pub fn lose_next_answer(&self) {
        self.network.loses_answer.store(true, Ordering::SeqCst);
    }

    /// Returns the number of accepted connections.
    pub fn accepted(&self) -> usize {
        self.network.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, network: Arc<Network>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        network.accepted.fetch_add(1, Ordering::SeqCst);
        connections.spawn(carry(client, network.clone()));
    }
}

async fn carry(mut client: TcpStream, network: Arc<Network>) {
    let mut stall = network.stall.subscribe();
    let target = network.target.load(Ordering::SeqCst);
    if target == 0 {
        return pending().await;
    }
    let mut server = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
    let (mut client_read, mut client_write) = client.split();
    let (mut server_read, mut server_write) = server.split();
    let commands = copy(&mut client_read, &mut server_write);
    let answers = async {
        let mut buffer = vec![0; 4096];
        while let Ok(length @ 1..) = server_read.read(&mut buffer).await {
            if network.loses_answer.swap(false, Ordering::SeqCst) {
                return;
            }
            if client_write.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = commands => {}
        () = answers => {}
        _ = stall.changed() => pending().await,
    }
}
