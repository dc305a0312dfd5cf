use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower::util::BoxCloneService;
use tower::{BoxError, ServiceExt};

use super::TokenCache;
use super::fetcher::Fetcher;
use super::schedule::Schedule;
use super::slots::Slots;
use super::source::TokenSource;
use crate::credentials::request::TokenRequest;
use crate::metrics;
use crate::token::AccessToken;
use crate::util::backoff::Backoff;
use crate::util::limits::MAX_LIFETIME;

const DEFAULT_CAPACITY: usize = 10_000;

/// Builds a [`TokenCache`] with settings other than the defaults.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower_oauth2::TokenCache;
/// use tower_oauth2::source::Backoff;
/// # use tower_oauth2::{AccessToken, TokenRequest};
/// # let source = tower::service_fn(|_: TokenRequest| async { AccessToken::new("t") });
///
/// let cache = TokenCache::builder(source)
///     .renew_ahead(Duration::from_secs(60))
///     .transient_backoff(Backoff::none())
///     .capacity(100)
///     .build();
/// assert!(cache.is_empty());
/// ```
#[must_use]
pub struct TokenCacheBuilder {
    source: BoxCloneService<TokenRequest, AccessToken, BoxError>,
    schedule: Schedule,
    capacity: usize,
    metric_labels: usize,
}

impl TokenCacheBuilder {
    pub(super) fn new(source: impl TokenSource) -> Self {
        Self {
            source: BoxCloneService::new(source.map_err(Into::into)),
            schedule: Schedule::default(),
            capacity: DEFAULT_CAPACITY,
            metric_labels: 0,
        }
    }

    /// Sets how long before its end a token is no longer handed out.
    ///
    /// The margin keeps tokens from expiring on their way to the API. The default is 10 seconds. It
    /// is never more than a tenth of the lifetime.
    #[doc(alias("leeway", "clock skew", "expiry buffer"))]
    pub fn expiry_margin(mut self, expiry_margin: Duration) -> Self {
        self.schedule.expiry_margin = expiry_margin;
        self
    }

    /// Sets how long before its end a token is renewed at the latest.
    ///
    /// The default is 5 minutes. It is never more than a fifth of the lifetime. The renewal happens
    /// at a random moment up to a tenth of the lifetime (an hour at most) earlier, so that the
    /// processes of a fleet do not renew at the same time. Zero renews only at expiry, except for
    /// responses with a `refresh_in`: use it for servers that keep
    /// [one live token per client](crate::guide::one_live_token).
    #[doc(alias("refresh", "leeway", "refresh before expiry"))]
    pub fn renew_ahead(mut self, renew_ahead: Duration) -> Self {
        self.schedule.renew_ahead = renew_ahead;
        self
    }

    /// Sets how long the cache remembers a transient failure.
    ///
    /// [`TokenError::is_transient`](crate::TokenError::is_transient) says which failures are
    /// transient. Until the time ends, callers get the remembered error at once. The default is 100
    /// ms to 10 s.
    #[doc(alias = "negative cache")]
    pub fn transient_backoff(mut self, backoff: Backoff) -> Self {
        self.schedule.transient = backoff;
        self
    }

    /// Sets how long the cache remembers a permanent failure, such as `invalid_client`.
    ///
    /// The default is 1 s to 60 s. It is forgotten when the
    /// [version](crate::client_auth::ClientAuthentication::version) of the credentials changes.
    pub fn permanent_backoff(mut self, backoff: Backoff) -> Self {
        self.schedule.permanent = backoff;
        self
    }

    /// Sets how long the source may take for one token, with its retries.
    ///
    /// The default is 10 minutes, and the maximum is a year. This limit only ends a source that
    /// never answers. Set shorter timeouts on the source itself.
    pub fn fetch_timeout(mut self, fetch_timeout: Duration) -> Self {
        self.schedule.fetch_timeout = fetch_timeout.min(MAX_LIFETIME);
        self
    }

    /// Sets for how many credentials the cache keeps tokens (10,000 by default).
    ///
    /// Each further set of credentials evicts another one to which no [`Tokens`](crate::Tokens)
    /// exist: the least recently used one of a sample of 16.
    #[doc(alias("max_size", "LRU", "eviction"))]
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// Adds the [label](crate::Credentials::label) of the credentials to metrics.
    ///
    /// The metrics get a label named `credentials`. The first `limit` labels of credentials are its
    /// values. All later ones count as `other`, and credentials without a label as `none`. Each
    /// value is a time series in several metrics, so choose a limit that your metrics system can
    /// handle. With the default of 0, metrics have no such label.
    ///
    /// The setting has no effect without the feature `metrics`.
    pub fn metric_labels(mut self, limit: usize) -> Self {
        self.metric_labels = limit;
        self
    }

    /// Builds the cache.
    pub fn build(self) -> TokenCache {
        metrics::describe();
        let slots = Arc::new_cyclic(|slots| {
            let fetcher = Fetcher::new(self.source, self.schedule, slots.clone());
            let fetcher = fetcher.with_metric_labels(self.metric_labels);
            Slots::new(self.capacity, Arc::new(fetcher))
        });
        TokenCache::from_slots(slots)
    }
}

impl fmt::Debug for TokenCacheBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCacheBuilder")
            .field("schedule", &self.schedule)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}
