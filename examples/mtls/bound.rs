//! A token endpoint and an API that check client certificates (RFC 8705). The token endpoint
//! authenticates clients by their certificates and binds tokens to them. The API accepts a token
//! only with the certificate that it is bound to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use ring::digest::{SHA256, digest};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use serde_json::{Value, json};
use tower::{BoxError, Service};

use crate::support::api::Api;
use crate::support::issuer::{CLIENT_ID, CLIENT_SECRET, Issuer};

/// The DNS name in the client's certificates (`tls_client_auth_san_dns`, RFC 8705 section
/// 2.1.2).
pub(crate) const CLIENT_NAME: &str = "client-id.clients.test";

type Answer = Result<Response<Full<Bytes>>, BoxError>;

/// The token endpoint's record of each token, for introspection by APIs (RFC 8705 section 3.2).
#[derive(Clone, Default)]
pub(crate) struct Introspection(Arc<Mutex<HashMap<String, Value>>>);

impl Introspection {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Value>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The token endpoint on one connection. It authenticates the client by its certificate, and
/// forwards the request to an issuer that authenticates clients by a secret.
#[derive(Clone)]
pub(crate) struct BoundIssuer {
    pub(crate) issuer: Issuer,
    pub(crate) introspection: Introspection,
    /// The client's certificate on this connection.
    pub(crate) certificate: CertificateDer<'static>,
}

impl BoundIssuer {
    pub(crate) async fn issue(mut self, request: Request<Incoming>) -> Answer {
        let (mut head, body) = request.into_parts();
        let form = body.collect().await?.to_bytes();
        head.headers.remove(AUTHORIZATION);
        if self.is_authenticated(&form) {
            let user_pass = BASE64_STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}"));
            let value = HeaderValue::try_from(format!("Basic {user_pass}"))?;
            head.headers.insert(AUTHORIZATION, value);
        }
        let request = Request::from_parts(head, Full::new(form));
        let (head, body) = self.issuer.call(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        let response: Value = serde_json::from_slice(&body)?;
        if let Some(token) = response["access_token"].as_str() {
            let cnf = json!({ "x5t#S256": thumbprint(&self.certificate) });
            let known = json!({ "active": true, "client_id": CLIENT_ID, "cnf": cnf });
            self.introspection.lock().insert(token.to_owned(), known);
        }
        Ok(Response::from_parts(head, Full::new(body)))
    }

    /// Returns whether the request has the client's certificate and no secret (RFC 8705 section 2).
    fn is_authenticated(&self, form: &[u8]) -> bool {
        let parameter = |name| form_urlencoded::parse(form).find(|(known, _)| known == name);
        let is_named = parameter("client_id").is_some_and(|(_, value)| value == CLIENT_ID);
        let name = ServerName::try_from(CLIENT_NAME).expect("the constant is a DNS name");
        let is_certified = ParsedCertificate::try_from(&self.certificate)
            .is_ok_and(|certificate| verify_server_name(&certificate, &name).is_ok());
        is_named && is_certified && parameter("client_secret").is_none()
    }
}

/// The API on one connection. It accepts tokens that are bound to the client's certificate.
#[derive(Clone)]
pub(crate) struct BoundApi {
    pub(crate) api: Api,
    pub(crate) introspection: Introspection,
    /// The client's certificate on this connection.
    pub(crate) certificate: CertificateDer<'static>,
}

impl BoundApi {
    pub(crate) async fn answer(mut self, mut request: Request<Incoming>) -> Answer {
        if !self.is_bound(request.headers()) {
            // A token that is bound to another certificate is invalid (RFC 8705 section 3).
            request.headers_mut().remove(AUTHORIZATION);
        }
        Ok(self.api.call(request).await?)
    }

    fn is_bound(&self, headers: &HeaderMap) -> bool {
        let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = token.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        let thumbprint = thumbprint(&self.certificate);
        let known = self.introspection.lock();
        known.get(token).is_some_and(|known| known["cnf"]["x5t#S256"] == thumbprint)
    }
}

/// Returns the certificate's `x5t#S256` (RFC 8705 section 3.1).
fn thumbprint(certificate: &CertificateDer<'_>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, certificate))
}
