//! A hyper server on loopback, for HTTP/1.1 and HTTP/2.

use std::error::Error;
use std::io;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tower::Service;

type AnyError = Box<dyn Error + Send + Sync>;

/// Serves `service` until the runtime ends, and returns the origin of the server.
pub(crate) async fn serve<S, B>(service: S) -> io::Result<String>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<AnyError>,
    B: Body<Data: Send, Error: Into<AnyError>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, service.clone()));
        }
    });
    Ok(origin)
}

/// Serves one connection, with the HTTP version that the client chooses.
pub(crate) async fn connection<T, S, B>(stream: T, service: S)
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<AnyError>,
    B: Body<Data: Send, Error: Into<AnyError>> + Send + 'static,
{
    let service = TowerToHyperService::new(service);
    let server = Builder::new(TokioExecutor::new());
    // The client reports a broken connection.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}
