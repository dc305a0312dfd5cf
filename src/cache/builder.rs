use std::fmt;
use std::time::Duration;

use tower::util::BoxCloneService;
use tower::{BoxError, Service, ServiceExt};

use super::TokenCache;
use super::flight::Control;
use super::schedule::Schedule;
use super::slots::Slots;
use crate::backoff::Backoff;
use crate::credentials::ClientCredentials;
use crate::meter;
use crate::request::TokenRequest;
use crate::token::{AccessToken, MAX_LIFETIME};

const DEFAULT_CAPACITY: usize = 10_000;

/// The settings of a [`TokenCache`], each with a default that suits most.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower_oauth2::{Backoff, TokenCache};
/// # use tower_oauth2::{AccessToken, ClientAuth, ClientCredentials, ConfigError, TokenRequest};
/// # let source = tower::service_fn(|_: TokenRequest| async { AccessToken::new("t") });
/// # let credentials = ClientCredentials::new("https://a.test", ClientAuth::none("id"))?;
///
/// let tokens = TokenCache::builder(credentials, source)
///     .renew_ahead(Duration::from_secs(60))
///     .transient_backoff(Backoff::none())
///     .capacity(100)
///     .build();
/// # Ok::<(), ConfigError>(())
/// ```
#[must_use]
pub struct TokenCacheBuilder {
    credentials: ClientCredentials,
    source: BoxCloneService<TokenRequest, AccessToken, BoxError>,
    schedule: Schedule,
    capacity: usize,
}

impl TokenCacheBuilder {
    pub(super) fn new<S>(credentials: ClientCredentials, source: S) -> Self
    where
        S: Service<TokenRequest, Response = AccessToken> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
    {
        Self {
            credentials,
            source: BoxCloneService::new(source.map_err(Into::into)),
            schedule: Schedule::default(),
            capacity: DEFAULT_CAPACITY,
        }
    }

    /// How long before its end a token is no longer handed out, so that it does not expire on its
    /// way: 10 seconds, and never more than a tenth of its lifetime.
    pub fn expiry_margin(mut self, expiry_margin: Duration) -> Self {
        self.schedule.expiry_margin = expiry_margin;
        self
    }

    /// How long before its end a token is renewed at the latest: 5 minutes, and never more than a
    /// fifth of its lifetime.
    ///
    /// The moment is drawn anew for each token, from there to a tenth of its lifetime (an hour at
    /// most) earlier, so that the members of a fleet do not renew in step. Zero switches renewal
    /// ahead of expiry off, but for responses with a `refresh_in`.
    pub fn renew_ahead(mut self, renew_ahead: Duration) -> Self {
        self.schedule.renew_ahead = renew_ahead;
        self
    }

    /// How long the source is left alone after a failure that may well pass
    /// ([`TokenError::is_transient`](crate::TokenError::is_transient)): 100 ms to 10 s.
    pub fn transient_backoff(mut self, backoff: Backoff) -> Self {
        self.schedule.transient = backoff;
        self
    }

    /// How long the source is left alone after a failure that will hardly pass by itself, such as
    /// `invalid_client`: 1 s to 60 s, or until the credentials'
    /// [version](crate::ClientAuthentication::version) changes.
    pub fn permanent_backoff(mut self, backoff: Backoff) -> Self {
        self.schedule.permanent = backoff;
        self
    }

    /// How long the source may take for one token, all its retries and waits included: 10 minutes, and a
    /// year at most. A source that never answers would otherwise be waited for for ever; set the timeouts
    /// that matter on the source itself.
    pub fn fetch_timeout(mut self, fetch_timeout: Duration) -> Self {
        self.schedule.fetch_timeout = fetch_timeout.min(MAX_LIFETIME);
        self
    }

    /// Sets how many credentials are kept besides the cache's own; 10,000 by default.
    ///
    /// Each new one beyond that evicts one that nobody waits for: the least recently used of 16.
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// The cache.
    pub fn build(self) -> TokenCache {
        meter::describe();
        let control = Control::new(self.source, self.schedule, Slots::new(self.capacity));
        TokenCache::from_parts(self.credentials, control)
    }
}

impl fmt::Debug for TokenCacheBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCacheBuilder")
            .field("credentials", &self.credentials)
            .field("schedule", &self.schedule)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}
