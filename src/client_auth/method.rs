//! Defines the trait of client authentication methods.

use std::future::Future;
use std::pin::Pin;

use tower::BoxError;

use super::TokenRequestParts;
use crate::error::ConfigError;
use crate::secret::Identity;

/// Authenticates a client at the token endpoint.
///
/// An implementation adds the proof of the client's identity to each token request. It runs for
/// every attempt, so a secret that may change is read each time.
///
/// # Example
///
/// A method for a gateway in front of the token endpoint, which requires its own key besides the
/// client secret:
///
/// ```
/// use http::HeaderValue;
/// use tower::BoxError;
/// use tower_oauth2::{ClientAuth, ConfigError, Secret};
/// use tower_oauth2::client_auth::{ClientAuthentication, Identity, TokenRequestParts};
///
/// struct WithGatewayKey {
///     client: ClientAuth,
///     gateway_key: Secret,
/// }
///
/// impl ClientAuthentication for WithGatewayKey {
///     fn method(&self) -> &str {
///         "gateway_key"
///     }
///
///     fn client_id(&self) -> Option<&str> {
///         self.client.client_id()
///     }
///
///     fn identify(&self, identity: &mut Identity) {
///         identity.client_auth(&self.client).secret(&self.gateway_key);
///     }
///
///     fn version(&self) -> u64 {
///         self.client.version()
///     }
///
///     fn check(&self) -> Result<(), ConfigError> {
///         self.client.check()
///     }
///
///     async fn authenticate(&self, request: &mut TokenRequestParts) -> Result<(), BoxError> {
///         let key = request.read(&self.gateway_key).await?;
///         let mut key = HeaderValue::try_from(key.as_ref())?;
///         key.set_sensitive(true);
///         request.headers_mut().insert("x-gateway-key", key);
///         self.client.authenticate(request).await
///     }
/// }
///
/// let auth = ClientAuth::custom(WithGatewayKey {
///     client: ClientAuth::client_secret_basic("client-id", "s3cr3t"),
///     gateway_key: Secret::file("/run/secrets/gateway-key"),
/// });
/// # let _ = auth;
/// ```
pub trait ClientAuthentication: Send + Sync + 'static {
    /// Returns the registered name of the method (RFC 7591 section 2), or another name.
    fn method(&self) -> &str;

    /// Returns the client id, if the method knows it.
    ///
    /// It is part of the identity, and names the client. It is not sent unless
    /// [`authenticate`](Self::authenticate) adds it.
    fn client_id(&self) -> Option<&str> {
        None
    }

    /// Adds the data that distinguishes this client from others.
    ///
    /// Examples are the secret or its source, the key, and the certificate.
    ///
    /// Clients that must not share a token have to differ here. [`method`](Self::method) and
    /// [`client_id`](Self::client_id) are added without it. It is called once when
    /// [`Credentials`](crate::Credentials) are created.
    fn identify(&self, identity: &mut Identity);

    /// Returns a different number whenever the secret has changed.
    ///
    /// An error such as `invalid_client` is forgotten when the number changes. After such an error,
    /// the function is called often, and it must not block.
    fn version(&self) -> u64 {
        0
    }

    /// Checks the settings of the method when [`Credentials`](crate::Credentials) are created.
    ///
    /// The constructor of the credentials returns its error.
    ///
    /// A method that builds on another method calls the check of the other one.
    ///
    /// # Errors
    ///
    /// Returns an error if no token request can succeed with these settings.
    fn check(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Adds the proof of the client's identity to a token request.
    ///
    /// # Errors
    ///
    /// An error ends the attempt with
    /// [`TokenErrorKind::ClientAuthentication`](crate::TokenErrorKind::ClientAuthentication) and
    /// becomes its source. Keep secrets out of its text.
    fn authenticate(
        &self,
        request: &mut TokenRequestParts,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// Makes a trait object of a [`ClientAuthentication`], without its own future type.
pub(super) trait DynClientAuthentication: Send + Sync {
    fn method(&self) -> &str;
    fn client_id(&self) -> Option<&str>;
    fn identify(&self, identity: &mut Identity);
    fn version(&self) -> u64;
    fn check(&self) -> Result<(), ConfigError>;
    fn authenticate<'a>(
        &'a self,
        request: &'a mut TokenRequestParts,
    ) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send + 'a>>;
}

impl<T: ClientAuthentication> DynClientAuthentication for T {
    fn method(&self) -> &str {
        ClientAuthentication::method(self)
    }

    fn client_id(&self) -> Option<&str> {
        ClientAuthentication::client_id(self)
    }

    fn identify(&self, identity: &mut Identity) {
        ClientAuthentication::identify(self, identity);
    }

    fn version(&self) -> u64 {
        ClientAuthentication::version(self)
    }

    fn check(&self) -> Result<(), ConfigError> {
        ClientAuthentication::check(self)
    }

    fn authenticate<'a>(
        &'a self,
        request: &'a mut TokenRequestParts,
    ) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send + 'a>> {
        Box::pin(ClientAuthentication::authenticate(self, request))
    }
}
