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
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A certificate authority for tests.
pub(super) struct Ca {
    roots: Arc<RootCertStore>,
    issuer: Issuer<'static, KeyPair>,
}

pub(super) struct Identity {
    pub(super) certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Ca {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(params.self_signed(&key).unwrap().der().clone()).unwrap();
        Self { roots: Arc::new(roots), issuer: Issuer::new(params, key) }
    }

    /// Issues a certificate for this machine, as a server or as a client.
    pub(super) fn certify(&self) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().into();
        Identity { certificate, key: PrivatePkcs8KeyDer::from(key.serialize_der()).into() }
    }

    /// Creates a client that trusts this authority and presents this certificate.
    pub(super) fn client(
        &self,
        identity: Option<&Identity>,
    ) -> legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone());
        let config = match identity {
            Some(Identity { certificate, key }) => {
                config.with_client_auth_cert(vec![certificate.clone()], key.clone_key()).unwrap()
            }
            None => config.with_no_client_auth(),
        };
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1();
        legacy::Client::builder(TokioExecutor::new()).build(connector.build())
    }
}

type Seen = Arc<Mutex<Vec<(Request<Bytes>, CertificateDer<'static>)>>>;

/// A token endpoint that requires a certificate of the authority.
pub(super) struct Endpoint {
    origin: String,
    seen: Seen,
}

impl Endpoint {
    pub(super) async fn start(ca: &Ca) -> Self {
        let Identity { certificate, key } = ca.certify();
        let clients = WebPkiClientVerifier::builder_with_provider(ca.roots.clone(), provider());
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
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

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
