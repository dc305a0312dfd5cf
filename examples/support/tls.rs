//! Servers with TLS on loopback, and their certificate authority.

use std::future::Future;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::{BoxError, Service};

use super::server;

/// A certificate authority that only this process trusts.
pub(crate) struct Ca {
    roots: RootCertStore,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Ca {
    pub(crate) fn new() -> Result<Self, BoxError> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let mut roots = RootCertStore::empty();
        roots.add(params.self_signed(&key)?.der().clone())?;
        Ok(Self { roots, issuer: Issuer::new(params, key) })
    }

    /// Returns the root certificates for clients.
    pub(crate) fn roots(&self) -> RootCertStore {
        self.roots.clone()
    }

    /// Issues a certificate for a host, or for a client with a host name.
    pub(crate) fn certify(&self, name: &str) -> Result<Identity, BoxError> {
        let key = KeyPair::generate()?;
        let certificate =
            CertificateParams::new([name.to_owned()])?.signed_by(&key, &self.issuer)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        Ok(Identity { certificate: certificate.into(), key })
    }

    /// Serves `service` over TLS, and returns the origin of the server. ALPN negotiates HTTP/2.
    pub(crate) async fn serve<S>(&self, service: S) -> Result<String, BoxError>
    where
        S: Service<Request<Incoming>, Response = Response<Full<Bytes>>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
    {
        let Identity { certificate, key } = self.certify("127.0.0.1")?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let serve = move |stream| server::connection(stream, service.clone());
        Ok(listen(config, serve).await?)
    }
}

/// Passes each connection to `serve` after its handshake, and returns the origin of the server.
pub(crate) async fn listen<F, C>(config: ServerConfig, serve: F) -> io::Result<String>
where
    F: Fn(TlsStream<TcpStream>) -> C + Clone + Send + 'static,
    C: Future<Output = ()> + Send,
{
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("https://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, serve) = (acceptor.clone(), serve.clone());
            tokio::spawn(async move {
                // The client reports a failed handshake.
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream).await;
                }
            });
        }
    });
    Ok(origin)
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
