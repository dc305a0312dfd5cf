//! A hyper server on loopback.

use std::convert::Infallible;
use std::future::Future;
use std::io;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Answers every request with what `handler` makes of it, until the runtime ends; returns the
/// server's origin.
pub(crate) async fn serve<H, F>(handler: H) -> io::Result<String>
where
    H: Fn(Request<Bytes>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let handler = handler.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| answer(request, &handler));
                // A connection that breaks off is the client's to complain about.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Ok(origin)
}

async fn answer<F>(
    request: Request<Incoming>,
    handler: impl Fn(Request<Bytes>) -> F,
) -> Result<Response<Full<Bytes>>, Infallible>
where
    F: Future<Output = Response<Full<Bytes>>>,
{
    let (head, body) = request.into_parts();
    Ok(match body.collect().await {
        Ok(body) => handler(Request::from_parts(head, body.to_bytes())).await,
        Err(_) => response(StatusCode::BAD_REQUEST, Bytes::new()),
    })
}

pub(crate) fn response(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}
