use tower::BoxError;

use super::{ClientAuthentication, TokenRequestParts};
use crate::error::ConfigError;
use crate::secret::Identity;

/// Authenticates by mutual TLS, in the handshake of the HTTP client (RFC 8705 section 2).
pub(super) struct Tls {
    method: &'static str,
    id: String,
    certificate: Vec<u8>,
}

impl Tls {
    pub(super) fn pki(id: String, certificate: &[u8]) -> Self {
        Self { method: "tls_client_auth", id, certificate: certificate.to_vec() }
    }

    pub(super) fn self_signed(id: String, certificate: &[u8]) -> Self {
        Self { method: "self_signed_tls_client_auth", id, certificate: certificate.to_vec() }
    }
}

impl ClientAuthentication for Tls {
    fn method(&self) -> &str {
        self.method
    }

    fn client_id(&self) -> Option<&str> {
        Some(&self.id)
    }

    fn identify(&self, identity: &mut Identity) {
        identity.part(&self.certificate);
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.certificate.is_empty() {
            return Err(ConfigError::new("client certificate", "is empty"));
        }
        Ok(())
    }

    async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
        self.check()?;
        request.set_parameter("client_id", self.id.as_str());
        Ok(())
    }
}
