//! A server over TLS on loopback, and the certificate authority that vouches for it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower::{BoxError, Service};

use crate::support::server;

/// A certificate authority that only this process knows.
pub(crate) struct Ca {
    roots: RootCertStore,
    issuer: Issuer<'static, KeyPair>,
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

    /// What a client has to trust.
    pub(crate) fn roots(&self) -> RootCertStore {
        self.roots.clone()
    }

    /// As [`server::serve`], for HTTP/2 with those that offer it in their handshake (ALPN).
    pub(crate) async fn serve<S>(&self, service: S) -> Result<String, BoxError>
    where
        S: Service<Request<Incoming>, Response = Response<Full<Bytes>>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
    {
        let acceptor = self.acceptor()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let origin = format!("https://{}", listener.local_addr()?);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, service) = (acceptor.clone(), service.clone());
                tokio::spawn(async move {
                    let stream = acceptor.accept(stream).await?;
                    server::connection(stream, service).await;
                    io::Result::Ok(())
                });
            }
        });
        Ok(origin)
    }

    fn acceptor(&self) -> Result<TlsAcceptor, BoxError> {
        let key = KeyPair::generate()?;
        let params = CertificateParams::new(["127.0.0.1".to_owned()])?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.into()], key.into())?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}
