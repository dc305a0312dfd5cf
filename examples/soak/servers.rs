//! Servers whose connections are counted, and can be broken off all at once.

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
    breaks: watch::Sender<()>,
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connections {
    pub(crate) fn new() -> Self {
        Self { open: Arc::default(), breaks: watch::Sender::new(()) }
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Breaks off all that are open, whatever is on its way in them.
    pub(crate) fn break_off(&self) {
        self.breaks.send_replace(());
    }

    /// Serves on loopback until the runtime ends; returns the server's origin.
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
                let (open, mut breaks) = (Open(this.open.clone()), this.breaks.subscribe());
                let service = service.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = server::connection(stream, service) => {}
                        _ = breaks.changed() => {}
                    }
                    drop(open);
                });
            }
        });
        Ok(origin)
    }
}
