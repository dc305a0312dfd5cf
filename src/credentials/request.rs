//! Defines the request that a source of tokens answers.

use std::fmt;
use std::sync::Arc;

use crate::credentials::Credentials;
use crate::token::AccessToken;
use crate::util::liveness::Liveness;

/// Asks a source for a token.
///
/// It has the credentials, the token to replace, and the [cause](Self::cause). Any
/// `Service<TokenRequest, Response = AccessToken>` is a source: a
/// [`TokenEndpoint`](crate::TokenEndpoint), a stack of tower's layers over one, or a function in
/// [`tower::service_fn`]. A source must not answer a renewal or a rejection with the token that the
/// request shows.
///
/// # Example
///
/// ```
/// use std::convert::Infallible;
/// use tower::service_fn;
/// use tower_oauth2::{AccessToken, ConfigError, TokenRequest};
/// use tower_oauth2::source::Cause;
///
/// let metadata_server = service_fn(|request: TokenRequest| async move {
///     assert_eq!(request.cause(), Cause::Cold);
///     AccessToken::new("from-somewhere-else")
/// });
/// # let _ = metadata_server;
/// ```
///
/// [`tower::service_fn`]: https://docs.rs/tower/latest/tower/fn.service_fn.html
#[derive(Clone)]
pub struct TokenRequest {
    credentials: Credentials,
    token: Option<AccessToken>,
    cause: Cause,
    claims: Option<Arc<str>>,
    /// The liveness of the fetch that sends this request.
    liveness: Option<Arc<Liveness>>,
}

/// Says why a token is requested.
///
/// # Example
///
/// A source that keeps tokens itself may return one of them only for the first cause:
///
/// ```
/// use tower_oauth2::TokenRequest;
/// use tower_oauth2::source::Cause;
///
/// fn may_return_kept_token(request: &TokenRequest) -> bool {
///     request.cause() == Cause::Cold
/// }
/// # let _ = may_return_kept_token;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// There is no token, or the last one has expired.
    Cold,
    /// The current token is valid, and will expire before long.
    Renewal,
    /// An API rejected the last token.
    Rejected,
}

impl TokenRequest {
    /// Creates a request for a first token.
    pub fn new(credentials: Credentials) -> Self {
        Self { credentials, token: None, cause: Cause::Cold, claims: None, liveness: None }
    }

    /// Sets the token to replace, and the cause.
    #[must_use]
    pub fn with_token(mut self, token: AccessToken, cause: Cause) -> Self {
        self.token = Some(token);
        self.cause = cause;
        self
    }

    /// Sets the claims that the token must carry, as JSON.
    #[must_use]
    pub fn with_claims(mut self, claims: impl Into<Arc<str>>) -> Self {
        self.claims = Some(claims.into());
        self
    }

    /// Sets the liveness of the fetch that sends this request.
    ///
    /// If the fetch is presumed dead, others take over the lock of its refresh token and its lease
    /// (C3).
    pub(crate) fn with_liveness(mut self, liveness: Arc<Liveness>) -> Self {
        self.liveness = Some(liveness);
        self
    }

    /// Returns the liveness of the fetch that sends this request. `None` if no cache sent it.
    pub(crate) fn liveness(&self) -> Option<&Arc<Liveness>> {
        self.liveness.as_ref()
    }

    /// Returns whether the fetch that sends this request has been
    /// [replaced](crate::guide::guarantees#c3) by another one.
    #[cfg(races)]
    pub fn is_superseded(&self) -> bool {
        self.liveness.as_ref().is_some_and(|liveness| liveness.is_superseded())
    }

    /// Replaces the refresh token of the credentials.
    pub(crate) fn with_refresh_token(mut self, refresh_token: &str) -> Self {
        self.credentials = self.credentials.with_current_refresh_token(refresh_token);
        self
    }

    /// Returns the credentials.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Returns the token to replace.
    pub fn token(&self) -> Option<&AccessToken> {
        self.token.as_ref()
    }

    /// Returns why a token is requested.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// Returns the claims that APIs require in their challenges, as JSON.
    ///
    /// A [`TokenEndpoint`](crate::TokenEndpoint) sends them as `claims`.
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
