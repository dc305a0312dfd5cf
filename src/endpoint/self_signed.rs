//! Signs JWTs that are access tokens themselves.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::time::Instant;
use tower::Service;

use super::limits::DEFAULT_TIMEOUT;
use super::not_available;
use crate::credentials::EndpointUri;
use crate::credentials::request::TokenRequest;
use crate::error::{TokenError, TokenErrorKind};
use crate::jwt::{DefaultAudience, JwtContext, SignedJwt};
use crate::token::AccessToken;
use crate::util::clock::Now;

/// Signs JWTs and returns them as tokens, without a token request.
///
/// GitHub Apps and many APIs of Google accept such tokens. A token has the default claims of a
/// [`SignedJwt`], except that it has no audience unless one is set. It expires with the JWT: 15
/// seconds earlier than its [lifetime](SignedJwt::lifetime) from now. Its times follow this
/// machine's wall clock.
///
/// # Errors
///
/// Returns a [`TokenError`] of the kind
/// [`ClientAuthentication`](TokenErrorKind::ClientAuthentication) if the key cannot be read or
/// cannot sign within 30 seconds.
///
/// # Example
///
/// A GitHub App:
///
/// ```
/// use std::time::Duration;
/// use tower::ServiceExt;
/// use tower_oauth2::jwt::{Algorithm, SignedJwt, SigningKey};
/// use tower_oauth2::source::SelfSigned;
/// use tower_oauth2::{Credentials, TokenRequest};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower::BoxError> {
/// // Usually the key that GitHub has generated for the app.
/// let key = SigningKey::generate(Algorithm::ES256)?;
/// let jwt = SignedJwt::new(key).lifetime(Duration::from_secs(540));
/// let source = SelfSigned::new("Iv23liExample", jwt);
///
/// let token = source.oneshot(TokenRequest::new(Credentials::named("app"))).await?;
/// assert_eq!(token.secret().split('.').count(), 3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SelfSigned {
    issuer: Arc<str>,
    jwt: Arc<SignedJwt>,
}

impl SelfSigned {
    /// Creates a source of JWTs whose issuer (`iss`) is `issuer`.
    ///
    /// `jwt` is a [`SignedJwt`], or a key to sign it with.
    pub fn new(issuer: impl Into<String>, jwt: impl Into<SignedJwt>) -> Self {
        Self { issuer: issuer.into().into(), jwt: Arc::new(jwt.into()) }
    }

    async fn sign(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        if Handle::try_current().is_err() {
            return Err(TokenError::new(TokenErrorKind::NoRuntime, ""));
        }
        let now = Now::read();
        let credentials = request.credentials();
        let endpoint = credentials.endpoint();
        let context = JwtContext {
            now: now.wall,
            token_endpoint: endpoint.as_deref().map(EndpointUri::text),
            issuer: credentials.issuer(),
            default_audience: DefaultAudience::None,
            deadline: Some(Instant::now() + DEFAULT_TIMEOUT),
        };
        let jwt = self.jwt.sign(&self.issuer, &context).await.map_err(not_available)?;
        let token = AccessToken::new(jwt.as_str()).map_err(|error| {
            TokenError::with_source(TokenErrorKind::InvalidAccessToken, error.into())
        })?;
        Ok(token.with_expires_in(self.jwt.remaining_lifetime()).with_requested_at_both(now))
    }
}

impl Service<TokenRequest> for SelfSigned {
    type Response = AccessToken;
    type Error = TokenError;
    /// Resolves to the token.
    type Future = Pin<Box<dyn Future<Output = Result<AccessToken, TokenError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: TokenRequest) -> Self::Future {
        let source = self.clone();
        Box::pin(async move {
            let result = source.sign(&request).await;
            result.map_err(|error| error.at(request.credentials().server()))
        })
    }
}

impl fmt::Debug for SelfSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SelfSigned").field("jwt", &self.jwt).finish_non_exhaustive()
    }
}
