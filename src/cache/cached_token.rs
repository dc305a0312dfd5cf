use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::breaker::SendNumber;
use super::claims::Claims;
use super::issued::IssuedToken;
use super::machine::Rejection;
use crate::token::AccessToken;

/// Holds an [`AccessToken`] from a cache, and can reject it there.
///
/// # Example
///
/// ```
/// use tower_oauth2::{CachedToken, Tokens};
///
/// # fn is_accepted(_: &CachedToken) -> bool { true }
/// async fn log_in(tokens: &Tokens) -> Result<(), tower_oauth2::TokenError> {
///     let token = tokens.get().await?;
///     if !is_accepted(&token) {
///         token.reject();
///     }
///     Ok(())
/// }
/// # let _ = log_in;
/// ```
#[derive(Clone)]
pub struct CachedToken(Arc<IssuedToken>);

impl CachedToken {
    pub(super) fn new(token: Arc<IssuedToken>) -> Self {
        Self(token)
    }

    pub(super) fn issued(&self) -> &Arc<IssuedToken> {
        &self.0
    }

    /// Returns the requested scope names that the server did not grant, separated by spaces.
    ///
    /// Returns `None` if the server granted all of them, or did not say which scope it granted (RFC
    /// 6749 section 5.1). `offline_access` and names that end in `.default` are not compared,
    /// because servers do not repeat them.
    ///
    /// # Example
    ///
    /// ```
    /// use tower::service_fn;
    /// use tower_oauth2::{AccessToken, ClientAuth, ConfigError, Credentials, TokenRequest, Tokens};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower::BoxError> {
    /// // A `TokenEndpoint` in production:
    /// let source = service_fn(|_: TokenRequest| async {
    ///     Ok::<_, ConfigError>(AccessToken::new("t")?.with_scope("read"))
    /// });
    /// let credentials = Credentials::new("https://a.test", ClientAuth::none("id"))?;
    /// let tokens = Tokens::new(credentials.scope("read write"), source);
    /// assert_eq!(tokens.get().await?.missing_scope(), Some("write"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn missing_scope(&self) -> Option<&str> {
        self.0.access_token().missing_scope()
    }

    /// Drops the token from its cache, so that the next caller gets another one.
    ///
    /// Call it when an API has rejected the token.
    ///
    /// Has no effect if the cache already has another token or no longer exists, or if the token is
    /// [fixed](crate::Tokens::fixed). So a token may be rejected several times, or late.
    #[doc(alias("invalidate", "revoke", "401"))]
    pub fn reject(&self) {
        if let Some(slot) = self.0.slot() {
            slot.reject(&Rejection {
                issue: self.0.issue(),
                target: None,
                claims: Claims::default(),
                send: SendNumber::First,
            });
        }
    }
}

impl Deref for CachedToken {
    type Target = AccessToken;

    fn deref(&self) -> &AccessToken {
        self.0.access_token()
    }
}

impl fmt::Debug for CachedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.access_token().fmt(f)
    }
}
