//! TLS where both sides show a certificate: how a client is configured, and a server that serves nobody
//! without one.

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

/// What a client has to be configured with, which shows its certificate if it has one.
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

/// Serves each client that shows a certificate of `ca`'s with what `service` makes of that certificate;
/// returns the server's origin.
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
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let service = shown.map(|certificate| service(certificate.clone().into_owned()));
        async move {
            if let Some(service) = service {
                server::connection(stream, service).await;
            }
        }
    });
    Ok(origin.await?)
}
