//! Servers that count their connections, and can close all of them at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::{BoxError, Service};

use crate::server;

/// The connections of one server.
#[derive(Clone)]
pub(crate) struct Connections {
    open: Arc<AtomicUsize>,
    close: watch::Sender<()>,
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connections {
    pub(crate) fn new() -> Self {
        Self { open: Arc::default(), close: watch::Sender::new(()) }
    }

    /// Returns the number of open connections.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Closes all open connections, even in the middle of a request or response.
    pub(crate) fn close_all(&self) {
        self.close.send_replace(());
    }

    /// Serves on loopback until the runtime ends, and returns the server's origin.
    pub(crate) async fn serve<S>(&self, service: S) -> io::Result<String>
    where
        S: Service<Request<Incoming>, Response = Response<Full<Bytes>>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let this = self.clone();
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                this.open.fetch_add(1, Ordering::Relaxed);
                let (open, mut close) = (Open(this.open.clone()), this.close.subscribe());
                let service = service.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = server::connection(stream, service) => {}
                        _ = close.changed() => {}
                    }
                    drop(open);
                });
            }
        });
        Ok(origin)
    }
}
