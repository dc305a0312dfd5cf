use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::support::certificates::{Ca, Identity};

/// Creates a client that trusts `ca` and shows this certificate.
pub(super) fn client(
    ca: &Ca,
    identity: Option<&Identity>,
) -> legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>> {
    let config = ca.client(identity);
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1();
    legacy::Client::builder(TokioExecutor::new()).build(connector.build())
}

type Seen = Arc<Mutex<Vec<(Request<Bytes>, CertificateDer<'static>)>>>;

/// A token endpoint that requires a certificate of the authority.
pub(super) struct Endpoint {
    origin: String,
    seen: Seen,
}

impl Endpoint {
    pub(super) async fn start(ca: &Ca) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(ca.mutual_server()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("https://{}", listener.local_addr().unwrap());
        let seen = Seen::default();
        let log = seen.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(acceptor.clone(), stream, log.clone()));
            }
        });
        Self { origin, seen }
    }

    pub(super) fn url(&self) -> String {
        format!("{}/token", self.origin)
    }

    /// Returns the requests, each with the certificate of its client.
    pub(super) fn seen(&self) -> Vec<(Request<Bytes>, CertificateDer<'static>)> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, log: Seen) {
    // The handshake fails for a client without a certificate.
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
    let service = service_fn(move |request: Request<Incoming>| {
        let (log, shown) = (log.clone(), shown.clone());
        async move {
            let (head, body) = request.into_parts();
            let request = Request::from_parts(head, body.collect().await?.to_bytes());
            log.lock().unwrap().push((request, shown));
            let body = r#"{"access_token":"token-1","expires_in":3600}"#;
            Ok::<_, hyper::Error>(Response::new(Full::<Bytes>::from(body)))
        }
    });
    let server = hyper::server::conn::http1::Builder::new();
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}
