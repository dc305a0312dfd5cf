use tower::BoxError;

use super::{ClientAuthentication, TokenRequestParts};
use crate::error::ConfigError;
use crate::secret::{Identity, Secret};

/// The type of an assertion that is a JWT (RFC 7523 section 2.2).
pub(super) const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Authenticates with an assertion that another party has created for this client.
///
/// RFC 7521 section 4.2 and RFC 7523 section 2.2 define the method. Examples are the token of a
/// Kubernetes service account, a SPIFFE JWT-SVID, and the token of a cloud's workload identity.
/// [`ClientAuth::client_assertion`](super::ClientAuth::client_assertion) is the short form.
///
/// # Example
///
/// A server that knows the client by the assertion's own subject, and needs no `client_id`:
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
    /// Creates a method that sends `assertion` unchanged, as a JWT and without a `client_id`.
    pub fn new(assertion: impl Into<Secret>) -> Self {
        Self { assertion: assertion.into(), assertion_type: JWT_BEARER.to_owned(), client_id: None }
    }

    /// Sets the `client_id` that is sent with the assertion.
    ///
    /// It is optional (RFC 7521 section 4.2). A server may require that it is the subject of the
    /// assertion.
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// Sets the `client_assertion_type`, for an assertion that is not a JWT.
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

    fn identify(&self, identity: &mut Identity) {
        identity.part(&self.assertion_type).secret(&self.assertion);
    }

    fn version(&self) -> u64 {
        self.assertion.current_version()
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.assertion_type.is_empty() {
            return Err(ConfigError::new("client assertion type", "is empty"));
        }
        self.assertion.check("client assertion")
    }

    async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
        let assertion = self.assertion.read(request.deadline()).await?;
        set_assertion(request, self.client_id.as_deref(), &self.assertion_type, &assertion);
        Ok(())
    }
}

/// Adds an assertion that authenticates the client to the form (RFC 7521 section 4.2).
pub(super) fn set_assertion(
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
