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
    pub fn renew_ahead(mut self, renew_ahead: Duration) -> Self {
        self.schedule.renew_ahead = renew_ahead;
        self
    }

    /// Sets for how long a transient failure is remembered
    /// ([`TokenError::is_transient`](crate::TokenError::is_transient)).
    ///
    /// Callers get the remembered error at once. The default is 100 ms to 10 s.
    pub fn transient_backoff(mut self, backoff: Backoff) -> Self {
        self.schedule.transient = backoff;
        self
    }

    /// Sets for how long a permanent failure is remembered, such as `invalid_client`.
    ///
    /// The default is 1 s to 60 s. It is forgotten when the
    /// [version](crate::client_auth::ClientAuthentication::version) of the credentials changes.
    pub fn permanent_backoff(mut self, backoff: Backoff) -> Self {
        self.schedule.permanent = backoff;
        self
    }

    /// Sets how long the source may take for one token, including its retries and waits.
    ///
    /// The default is 10 minutes, the maximum a year. This is a last resort against a source that
    /// never answers: set the timeouts that matter on the source itself.
    pub fn fetch_timeout(mut self, fetch_timeout: Duration) -> Self {
        self.schedule.fetch_timeout = fetch_timeout.min(MAX_LIFETIME);
        self
    }

    /// Sets for how many credentials the cache keeps tokens. The default is 10,000.
    ///
    /// Each new one beyond that evicts one to which no [`Tokens`](crate::Tokens) exist: the least
    /// recently used of 16.
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// Adds the [label](crate::Credentials::label) of the credentials to metrics, as the label
    /// `credentials`.
    ///
    /// The first `limit` labels are shown. All others are `other`, and credentials without a label
    /// are `none`. Each label is a time series of several metrics, so choose a limit that your
    /// metrics system can bear. The default is 0: metrics have no such label.
    ///
    /// It has no effect without the feature `metrics`.
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
