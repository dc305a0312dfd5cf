//! A certificate authority for servers and clients, and servers on loopback that serve nobody without a
//! certificate.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower::{BoxError, Service};

use crate::support::server;

/// A certificate authority that only this process knows.
pub(crate) struct Authority {
    roots: Arc<RootCertStore>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Authority {
    pub(crate) fn new() -> Result<Self, BoxError> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let mut roots = RootCertStore::empty();
        roots.add(params.self_signed(&key)?.der().clone())?;
        Ok(Self { roots: Arc::new(roots), issuer: Issuer::new(params, key) })
    }

    /// A certificate for a host, or for a client that is named as hosts are.
    pub(crate) fn certify(&self, name: &str) -> Result<Identity, BoxError> {
        let key = KeyPair::generate()?;
        let certificate =
            CertificateParams::new([name.to_owned()])?.signed_by(&key, &self.issuer)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        Ok(Identity { certificate: certificate.into(), key })
    }

    /// What a client has to be configured with, which shows its certificate if it has one.
    pub(crate) fn client_config(
        &self,
        client: Option<&Identity>,
    ) -> Result<ClientConfig, BoxError> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots.clone());
        Ok(match client {
            Some(Identity { certificate, key }) => {
                config.with_client_auth_cert(vec![certificate.clone()], key.clone_key())?
            }
            None => config.with_no_client_auth(),
        })
    }

    /// Serves each client that shows a certificate of this authority's with what `service` makes of that
    /// certificate; returns the server's origin.
    pub(crate) async fn serve<S>(
        &self,
        service: impl Fn(CertificateDer<'static>) -> S + Send + Sync + 'static,
    ) -> Result<String, BoxError>
    where
        S: Service<Request<Incoming>, Response = Response<Full<Bytes>>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
    {
        let acceptor = self.acceptor()?;
        let service = Arc::new(service);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let origin = format!("https://{}", listener.local_addr()?);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, service) = (acceptor.clone(), service.clone());
                tokio::spawn(async move {
                    let stream = acceptor.accept(stream).await?;
                    let shown = stream.get_ref().1.peer_certificates();
                    if let Some(certificate) = shown.and_then(|chain| chain.first()) {
                        let service = service(certificate.clone().into_owned());
                        server::connection(stream, service).await;
                    }
                    io::Result::Ok(())
                });
            }
        });
        Ok(origin)
    }

    fn acceptor(&self) -> Result<TlsAcceptor, BoxError> {
        let Identity { certificate, key } = self.certify("127.0.0.1")?;
        let clients =
            WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider()).build()?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![certificate], key)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
