//! A token endpoint on a loopback port, because these crates bring their own HTTP clients.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::issuer::Issuer;

/// Serves the tokens of an issuer for as long as the runtime lasts.
pub async fn serve(issuer: &Issuer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let issuer = issuer.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let issuer = issuer.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let issuer = issuer.clone();
                async move {
                    request.into_body().collect().await?;
                    let (secret, lifetime) = issuer.issue().await;
                    let token = serde_json::json!({
                        "access_token": secret,
                        "token_type": "Bearer",
                        "expires_in": lifetime.as_secs(),
                    });
                    let response = Response::builder().header("content-type", "application/json");
                    let body = Full::new(Bytes::from(token.to_string()));
                    Ok::<_, hyper::Error>(response.body(body).expect("a response"))
                }
            });
            let server = hyper::server::conn::http1::Builder::new();
            tokio::spawn(async move {
                // The connection ends with the client.
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}
