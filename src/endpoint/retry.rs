//! Trying a token request again, as a policy for tower's own retry layer.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Sleep, sleep};
use tower::retry::Policy;

use crate::credentials::request::TokenRequest;
use crate::error::{TokenError, TokenErrorKind};
use crate::token::AccessToken;
use crate::util::jitter;

/// No single wait is longer than this.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// A [`Policy`] for [`tower::retry::RetryLayer`] on the way to a token endpoint: a number of
/// further tries, each after a longer wait than the one before.
///
/// A try follows when the failure may well pass ([`TokenError::is_transient`]), but for error
/// responses, where the statuses that are [set](Self::statuses) decide. `Retry-After` is obeyed, up to a minute. API requests
/// are never retried by it.
///
/// The wait before try *n* is drawn uniformly from the upper half of [`backoff`](Self::backoff) × 2ⁿ⁻¹, and is at
/// most a minute.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::retry::RetryLayer;
/// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
/// use tower_oauth2::{ClientAuth, Credentials, TokenEndpoint, TokenRequest};
/// use tower_oauth2::source::TokenRetry;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), BoxError> {
/// # let http = tower_test_double();
/// let source = ServiceBuilder::new()
///     .layer(RetryLayer::new(
///         TokenRetry::new(5).statuses([500]).backoff(Duration::from_millis(300)),
///     ))
///     .service(TokenEndpoint::new(http));
/// # let credentials = Credentials::new("https://a.test", ClientAuth::none("id"))?;
/// # assert_eq!(source.oneshot(TokenRequest::new(credentials)).await?.secret(), "t");
/// # Ok(())
/// # }
/// # fn tower_test_double() -> impl tower::Service<
/// #     Request<Full<Bytes>>,
/// #     Response = Response<Full<Bytes>>,
/// #     Error = BoxError,
/// #     Future = std::future::Ready<Result<Response<Full<Bytes>>, BoxError>>,
/// # > + Clone + Send + 'static {
/// #     use std::sync::{Arc, atomic::{AtomicU32, Ordering}};
/// #     let calls = Arc::new(AtomicU32::new(0));
/// #     service_fn(move |_| {
/// #         let mut response = Response::new(Full::from(r#"{"access_token":"t"}"#));
/// #         if calls.fetch_add(1, Ordering::Relaxed) < 5 {
/// #             *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
/// #         }
/// #         std::future::ready(Ok(response))
/// #     })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TokenRetry {
    total: u32,
    tried: u32,
    statuses: Arc<[u16]>,
    backoff: Duration,
}

impl TokenRetry {
    /// Up to `total` further tries, within the cache's
    /// [`fetch_timeout`](crate::cache::TokenCacheBuilder::fetch_timeout), on 408, 429, 500, 502, 503 and 504, with a first wait of up to
    /// 100 ms.
    pub fn new(total: u32) -> Self {
        Self {
            total,
            tried: 0,
            statuses: [408, 429, 500, 502, 503, 504].into(),
            backoff: Duration::from_millis(100),
        }
    }

    /// The statuses that another try follows.
    #[must_use]
    pub fn statuses(mut self, statuses: impl IntoIterator<Item = u16>) -> Self {
        self.statuses = statuses.into_iter().collect();
        self
    }

    /// How long the first wait is at most; each further one is twice as long.
    #[must_use]
    pub fn backoff(mut self, backoff: Duration) -> Self {
        self.backoff = backoff;
        self
    }

    fn is_worth_another_try(&self, error: Option<&TokenError>) -> bool {
        let Some(error) = error else {
            // A layer or a source of one's own failed in a way that this crate knows nothing of.
            return true;
        };
        match (error.kind(), error.status()) {
            (TokenErrorKind::NoRuntime, _) => false,
            (TokenErrorKind::ErrorResponse, Some(status)) if !status.is_success() => {
                self.statuses.contains(&status.as_u16())
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

impl<E: AsRef<dyn StdError + Send + Sync>> Policy<TokenRequest, AccessToken, E> for TokenRetry {
    type Future = Sleep;

    fn retry(
        &mut self,
        _request: &mut TokenRequest,
        result: &mut Result<AccessToken, E>,
    ) -> Option<Self::Future> {
        let error = TokenError::find_in(result.as_ref().err()?.as_ref());
        if self.tried == self.total || !self.is_worth_another_try(error) {
            return None;
        }
        let wait = self.next_wait(error.and_then(TokenError::retry_after));
        tracing::debug!(
            tried = self.tried,
            of = self.total,
            ?wait,
            "token request will be tried again"
        );
        Some(sleep(wait))
    }

    fn clone_request(&mut self, request: &TokenRequest) -> Option<TokenRequest> {
        Some(request.clone())
    }
}
