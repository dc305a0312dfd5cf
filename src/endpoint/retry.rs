//! Retries token requests.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Sleep, sleep};
use tower::retry::Policy;

use crate::credentials::request::TokenRequest;
use crate::error::{TokenError, TokenErrorKind};
use crate::token::AccessToken;
use crate::util::jitter;

/// The longest wait before a retry.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Says how often, after which failures and after which pause token requests are retried.
///
/// Pass it to [`TokenEndpoint::retry`](crate::TokenEndpoint::retry). It is also a tower [`Policy`],
/// for a [`RetryLayer`][`tower::retry::RetryLayer`] around other sources. Around a `TokenEndpoint`,
/// such a layer needs [`TokenRetry::none`] inside, or the numbers of tries multiply.
///
/// A retry follows a failure that may pass ([`TokenError::is_transient`]). For error responses, the
/// [statuses](Self::statuses) decide, and the codes `temporarily_unavailable`, `server_error` and
/// `slow_down`. The pause before retry *n* is drawn uniformly from the upper half
/// of [`backoff`](Self::backoff) × 2ⁿ⁻¹. `Retry-After` makes it longer. No pause is longer than a
/// minute. API requests are never retried.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower_oauth2::TokenEndpoint;
/// use tower_oauth2::source::{HttpClient, TokenRetry};
///
/// fn endpoint<M>(http: impl HttpClient<M>) -> TokenEndpoint {
///     let retry = TokenRetry::new(5).statuses([500]).backoff(Duration::from_millis(300));
///     TokenEndpoint::new(http).retry(retry)
/// }
/// ```
///
/// [`Policy`]: https://docs.rs/tower/latest/tower/retry/trait.Policy.html
/// [`tower::retry::RetryLayer`]: https://docs.rs/tower/latest/tower/retry/struct.RetryLayer.html
#[derive(Clone, Debug)]
pub struct TokenRetry {
    total: u32,
    tried: u32,
    statuses: Arc<[u16]>,
    backoff: Duration,
}

impl TokenRetry {
    /// Creates a policy with at most `total` retries.
    ///
    /// The first pause is at most 100 ms. Error responses are retried if their status is 408, 429,
    /// 500, 502, 503 or 504.
    ///
    /// The cache's [`fetch_timeout`](crate::cache::TokenCacheBuilder::fetch_timeout) bounds all
    /// tries together.
    pub fn new(total: u32) -> Self {
        Self {
            total,
            tried: 0,
            statuses: [408, 429, 500, 502, 503, 504].into(),
            backoff: Duration::from_millis(100),
        }
    }

    /// Creates a policy without retries.
    pub fn none() -> Self {
        Self::new(0)
    }

    /// Sets which statuses of error responses are retried.
    #[must_use]
    pub fn statuses(mut self, statuses: impl IntoIterator<Item = u16>) -> Self {
        self.statuses = statuses.into_iter().collect();
        self
    }

    /// Sets the longest first pause.
    ///
    /// Each further pause may be twice as long as the one before.
    #[must_use]
    pub fn backoff(mut self, backoff: Duration) -> Self {
        self.backoff = backoff;
        self
    }

    fn may_be_retried(&self, error: Option<&TokenError>) -> bool {
        let Some(error) = error else {
            // A custom source or layer failed with an error that this crate does not know.
            return true;
        };
        match (error.kind(), error.status()) {
            (TokenErrorKind::NoRuntime, _) => false,
            (TokenErrorKind::ErrorResponse, Some(status)) if !status.is_success() => {
                self.statuses.contains(&status.as_u16()) || error.has_transient_code()
            }
            _ => error.is_transient(),
        }
    }

    fn next_wait(&mut self, retry_after: Option<Duration>) -> Duration {
        let longest = self.backoff.saturating_mul(2_u32.saturating_pow(self.tried)).min(MAX_WAIT);
        self.tried += 1;
        let wait = jitter::upper_half(longest);
        wait.max(retry_after.unwrap_or_default().min(MAX_WAIT))
    }
}

impl Default for TokenRetry {
    /// Creates a policy with two retries.
    fn default() -> Self {
        Self::new(2)
    }
}

impl<E: AsRef<dyn StdError + Send + Sync>> Policy<TokenRequest, AccessToken, E> for TokenRetry {
    /// Resolves at the end of the pause before the retry.
    type Future = Sleep;

    fn retry(
        &mut self,
        request: &mut TokenRequest,
        result: &mut Result<AccessToken, E>,
    ) -> Option<Self::Future> {
        let error = TokenError::find_in(result.as_ref().err()?.as_ref());
        if self.tried == self.total || !self.may_be_retried(error) {
            return None;
        }
        let wait = self.next_wait(error.and_then(TokenError::retry_after));
        tracing::debug!(
            label = request.credentials().label_field(),
            tried = self.tried,
            of = self.total,
            ?wait,
            "token request will be retried"
        );
        Some(sleep(wait))
    }

    fn clone_request(&mut self, request: &TokenRequest) -> Option<TokenRequest> {
        Some(request.clone())
    }
}
