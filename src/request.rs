//! What a source of tokens is asked.

use std::fmt;
use std::sync::Arc;

use crate::credentials::ClientCredentials;
use crate::liveness::Liveness;
use crate::token::AccessToken;

/// What every source of tokens is asked: the credentials, the token that the cache has now, and
/// why another is wanted.
///
/// Anything that is a `Service<TokenRequest, Response = AccessToken>` is a source: a
/// [`TokenEndpoint`](crate::TokenEndpoint), a stack of tower's layers over one, a closure in a
/// [`tower::service_fn`]. A source never answers a renewal or a rejection with the very token that
/// it is shown.
///
/// # Example
///
/// ```
/// use std::convert::Infallible;
/// use tower::service_fn;
/// use tower_oauth2::{AccessToken, Cause, ConfigError, TokenRequest};
///
/// let metadata_server = service_fn(|request: TokenRequest| async move {
///     assert_eq!(request.cause(), Cause::Cold);
///     AccessToken::new("from-somewhere-else")
/// });
/// # let _ = metadata_server;
/// ```
#[derive(Clone)]
pub struct TokenRequest {
    credentials: ClientCredentials,
    token: Option<AccessToken>,
    cause: Cause,
    claims: Option<Arc<str>>,
    /// Signs of life of the fetch that sends this request.
    liveness: Option<Arc<Liveness>>,
}

/// Why a token is wanted.
///
/// # Example
///
/// A source that keeps tokens itself looks for one only where any will do:
///
/// ```
/// use tower_oauth2::{Cause, TokenRequest};
///
/// fn may_be_the_one_we_have(asked: &TokenRequest) -> bool {
///     asked.cause() == Cause::Cold
/// }
/// # let _ = may_be_the_one_we_have;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// There is none, or the last one has expired.
    Cold,
    /// There is a valid one that will expire before long.
    Renewal,
    /// The last one was rejected by an API.
    Rejected,
}

impl TokenRequest {
    /// A request for a first token.
    pub fn new(credentials: ClientCredentials) -> Self {
        Self { credentials, token: None, cause: Cause::Cold, claims: None, liveness: None }
    }

    /// A request for a token in the place of `token`.
    #[must_use]
    pub fn in_place_of(mut self, token: AccessToken, cause: Cause) -> Self {
        self.token = Some(token);
        self.cause = cause;
        self
    }

    /// Asks for a token with these claims, as JSON.
    #[must_use]
    pub fn with_claims(mut self, claims: impl Into<Arc<str>>) -> Self {
        self.claims = Some(claims.into());
        self
    }

    /// Names the fetch that sends this request, so that a refresh token's turn or a lease that it
    /// holds can be taken over when it is presumed dead (C3).
    pub(crate) fn with_liveness(mut self, liveness: Arc<Liveness>) -> Self {
        self.liveness = Some(liveness);
        self
    }

    /// Returns the signs of life of the fetch that sends this request. A request that no cache made
    /// has none.
    pub(crate) fn liveness(&self) -> Option<&Arc<Liveness>> {
        self.liveness.as_ref()
    }

    /// Returns whether the fetch that sends this request has been replaced (C3).
    #[cfg(races)]
    pub fn is_superseded(&self) -> bool {
        self.liveness.as_ref().is_some_and(|liveness| liveness.is_superseded())
    }

    /// The same with this refresh token, in the place of the one that the credentials have.
    pub(crate) fn with_refresh_token(mut self, refresh_token: &str) -> Self {
        self.credentials = self.credentials.with_present_refresh_token(refresh_token);
        self
    }

    /// What to ask for.
    pub fn credentials(&self) -> &ClientCredentials {
        &self.credentials
    }

    /// The token that is to be replaced.
    pub fn token(&self) -> Option<&AccessToken> {
        self.token.as_ref()
    }

    /// Why a token is wanted.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// The claims that the API wants the token to have, as JSON, when it said so in the challenge with which it
    /// rejected the last one. A [`TokenEndpoint`](crate::TokenEndpoint) sends them as `claims`.
    pub fn claims(&self) -> Option<&str> {
        self.claims.as_deref()
    }
}

impl fmt::Debug for TokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest")
            .field("credentials", &self.credentials)
            .field("token", &self.token)
            .field("cause", &self.cause)
            .field("claims", &self.claims.as_ref().map(|_| "**redacted**"))
            .finish()
    }
}
