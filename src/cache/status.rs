use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::cached_token::CachedToken;
use super::issued::IssuedToken;
use crate::error::TokenError;
use crate::util::clock::Now;

/// Describes the state of one slot when [`Tokens::status`] was called.
///
/// A slot is the part of a cache that belongs to one set of credentials.
///
/// # Example
///
/// ```
/// use tower_oauth2::Tokens;
///
/// fn is_ready(tokens: &Tokens) -> bool {
///     tokens.status().is_usable()
/// }
/// # let tokens = Tokens::fixed(tower_oauth2::AccessToken::new("t")?);
/// # assert!(is_ready(&tokens));
/// # Ok::<(), tower_oauth2::ConfigError>(())
/// ```
///
/// [`Tokens::status`]: crate::Tokens::status
#[derive(Clone, Debug)]
pub struct TokenStatus {
    token: Option<CachedToken>,
    renews_in: Option<Duration>,
    error: Option<TokenError>,
    is_fetching: bool,
}

/// The parts of a slot's state that callers may see.
pub(super) struct SlotStatus {
    pub(super) token: Option<Arc<IssuedToken>>,
    pub(super) renew_at: Option<Instant>,
    pub(super) error: Option<TokenError>,
    pub(super) is_fetching: bool,
}

impl TokenStatus {
    pub(super) fn new(status: SlotStatus) -> Self {
        let SlotStatus { token, renew_at, error, is_fetching } = status;
        let now = Instant::now();
        Self {
            token: token.map(CachedToken::new),
            renews_in: renew_at.map(|at| at.saturating_duration_since(now)),
            error,
            is_fetching,
        }
    }

    /// Returns whether there is a token that can be sent.
    pub fn is_usable(&self) -> bool {
        self.token.is_some()
    }

    /// Returns the token that can be sent, if there is one.
    pub fn token(&self) -> Option<&CachedToken> {
        self.token.as_ref()
    }

    /// Returns the time for which the cache still hands out the token.
    ///
    /// Returns `None` if there is no token, or if the token has no known end.
    pub fn time_left(&self) -> Option<Duration> {
        self.token.as_ref()?.issued().known_remaining(Now::read())
    }

    /// Returns the time until the renewal, which is zero if it is due.
    ///
    /// Returns `None` if there is no token, or if the token is not renewed before its end.
    pub fn renews_in(&self) -> Option<Duration> {
        self.renews_in
    }

    /// Returns the last failure, until a token request succeeds.
    pub fn error(&self) -> Option<&TokenError> {
        self.error.as_ref()
    }

    /// Returns whether a token request is running.
    pub fn is_fetching(&self) -> bool {
        self.is_fetching
    }
}
