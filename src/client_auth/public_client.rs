use tower::BoxError;

use super::{ClientAuthentication, TokenRequestParts};
use crate::secret::Identity;

/// Sends the client id of a public client, and no proof.
pub(super) struct PublicClient {
    id: String,
}

impl PublicClient {
    pub(super) fn new(id: String) -> Self {
        Self { id }
    }
}

impl ClientAuthentication for PublicClient {
    fn method(&self) -> &str {
        "none"
    }

    fn client_id(&self) -> Option<&str> {
        Some(&self.id)
    }

    fn identify(&self, _identity: &mut Identity) {}

    async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
        request.set_parameter("client_id", self.id.as_str());
        Ok(())
    }
}

/// Sends nothing about the client.
pub(super) struct Anonymous;

impl ClientAuthentication for Anonymous {
    fn method(&self) -> &str {
        "anonymous"
    }

    fn identify(&self, _identity: &mut Identity) {}

    async fn authenticate(&self, _request: &mut TokenRequestParts) -> Result<(), BoxError> {
        Ok(())
    }
}
