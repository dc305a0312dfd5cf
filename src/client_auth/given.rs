use tower::BoxError;

use super::identity::{LENGTH_SIZE, length_bytes};
use super::{ClientAuthentication, TokenRequestParts};
use crate::secret::Secret;

/// RFC 7523 section 2.2
pub(super) const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// An assertion that somebody else has made for this client: the token of a Kubernetes service account, a SPIFFE
/// JWT-SVID, what a cloud's workload identity issues (RFC 7521 section 4.2, RFC 7523 section 2.2).
///
/// [`ClientAuth::client_assertion`](super::ClientAuth::client_assertion) is the short form.
///
/// # Example
///
/// A server that knows the client by the assertion's own subject, and wants no `client_id`:
///
/// ```
/// use tower_oauth2::{ClientAuth, Secret};
/// use tower_oauth2::client_auth::ClientAssertion;
///
/// let token = Secret::file("/var/run/secrets/tokens/auth-server");
/// let auth = ClientAuth::custom(ClientAssertion::new(token));
/// assert_eq!(format!("{auth:?}"), "ClientAuth(client_assertion)");
/// ```
#[derive(Clone, Debug)]
pub struct ClientAssertion {
    assertion: Secret,
    assertion_type: String,
    client_id: Option<String>,
}

impl ClientAssertion {
    /// Sends `assertion` as it is, as a JWT, with no `client_id` beside it.
    pub fn new(assertion: impl Into<Secret>) -> Self {
        Self { assertion: assertion.into(), assertion_type: JWT_BEARER.to_owned(), client_id: None }
    }

    /// The client's id, which is sent as `client_id` (optional by RFC 7521 section 4.2). It is to be
    /// the assertion's subject where the server checks it.
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// The `client_assertion_type`, in the place of the one for JWTs.
    #[must_use]
    pub fn assertion_type(mut self, assertion_type: impl Into<String>) -> Self {
        self.assertion_type = assertion_type.into();
        self
    }
}

impl ClientAuthentication for ClientAssertion {
    fn method(&self) -> &str {
        "client_assertion"
    }

    fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    fn identity(&self) -> Vec<u8> {
        let secret = zeroize::Zeroizing::new(self.assertion.identity());
        let named = self.assertion_type.as_bytes();
        let room = LENGTH_SIZE + named.len() + 1 + secret.len();
        let mut identity = Vec::with_capacity(room);
        identity.extend_from_slice(&length_bytes(named.len()));
        identity.extend_from_slice(named);
        identity.push(u8::from(self.client_id.is_some()));
        identity.extend_from_slice(&secret);
        identity
    }

    fn version(&self) -> u64 {
        self.assertion.current_version()
    }

    async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
        let assertion = self.assertion.read(request.deadline()).await?;
        put(request, self.client_id.as_deref(), &self.assertion_type, &assertion);
        Ok(())
    }
}

/// Puts an assertion that authenticates the client into the form (RFC 7521 section 4.2).
pub(super) fn put(
    request: &mut TokenRequestParts,
    client_id: Option<&str>,
    assertion_type: &str,
    assertion: &str,
) {
    if let Some(client_id) = client_id {
        request.set_parameter("client_id", client_id);
    }
    request.set_parameter("client_assertion_type", assertion_type);
    request.set_parameter("client_assertion", assertion);
}

#[cfg(test)]
mod tests {
    use super::*;

    // S2
    #[test]
    fn an_identity_is_the_same_on_machines_of_every_word_size() {
        let identity = |assertion: ClientAssertion| {
            let secret = assertion.assertion.identity();
            let identity = assertion.identity();
            identity.strip_suffix(&secret[..]).unwrap().to_vec()
        };
        let own_type = ClientAssertion::new("made.by.others").assertion_type("own");
        assert_eq!(identity(own_type.clone()), b"\0\0\0\0\0\0\0\x03own\0");
        assert_eq!(identity(own_type.client_id("id")), b"\0\0\0\0\0\0\0\x03own\x01");
    }
}
