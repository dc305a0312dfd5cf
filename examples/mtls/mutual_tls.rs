//! Mutual TLS: the configuration of a client, and a server that requires client certificates.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ServerConfig};
use tower::{BoxError, Service};

use crate::support::server;
use crate::support::tls::{self, Ca, Identity};

/// Creates a client's TLS configuration, with its certificate if it has one.
pub(crate) fn client_config(ca: &Ca, client: Option<&Identity>) -> Result<ClientConfig, BoxError> {
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(ca.roots());
    Ok(match client {
        Some(Identity { certificate, key }) => {
            config.with_client_auth_cert(vec![certificate.clone()], key.clone_key())?
        }
        None => config.with_no_client_auth(),
    })
}

/// Serves clients whose certificate was issued by `ca`, and returns the server's origin. `service`
/// is called with a connection's certificate and returns the service for that connection.
pub(crate) async fn serve<S>(
    ca: &Ca,
    service: impl Fn(CertificateDer<'static>) -> S + Clone + Send + 'static,
) -> Result<String, BoxError>
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
{
    let Identity { certificate, key } = ca.certify("127.0.0.1")?;
    let roots = Arc::new(ca.roots());
    let clients = WebPkiClientVerifier::builder_with_provider(roots, tls::provider()).build()?;
    let config = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate], key)?;
    let origin = tls::listen(config, move |stream| {
        let presented = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let service = presented.map(|certificate| service(certificate.clone().into_owned()));
        async move {
            if let Some(service) = service {
                server::connection(stream, service).await;
            }
        }
    });
    Ok(origin.await?)
}
