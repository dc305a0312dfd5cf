use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::breaker::{SendNumber, Target};
use super::cached_token::CachedToken;
use super::changes::TokenChanges;
use super::issued::{IssueId, IssuedToken, LocalToken, TokenRef};
use super::keep_warm;
use super::machine::{Rejection, RejectionOutcome, Requirements, Suspicions};
use super::slot::{Lookup, Slot};
use super::slot_handle::SlotHandle;
use super::source::TokenSource;
use super::status::TokenStatus;
use super::{TokenCache, breaker, fixed};
use crate::credentials::Credentials;
use crate::error::TokenError;
use crate::metrics::MetricLabel;
use crate::protocol::origins::Origins;
use crate::token::AccessToken;

/// Returns the tokens of one set of [`Credentials`] from a cache.
///
/// It is a handle to the *slot* of these credentials: the part of the cache that belongs to them.
///
/// Pass it to an [`OAuth2Layer`](crate::OAuth2Layer), name it in a request
/// ([`RequestExt::tokens`](crate::RequestExt::tokens)), use it as the secret of another grant, or
/// call [`get`](Self::get) where there is no HTTP request.
///
/// - A hit takes no exclusive lock, awaits nothing and allocates nothing.
/// - Callers that miss at the same time share one token request. It runs in a separate task, so a
///   caller that is dropped does not cancel it.
/// - A token that is about to expire is renewed while callers continue to use it.
/// - A rejected token is dropped once, however many callers report it.
/// - A failure is remembered for a short while, so that callers do not flood a broken endpoint.
///
/// The guarantees [C1](crate::guide::guarantees#c1) to [C12](crate::guide::guarantees#c12) state
/// these rules exactly.
///
/// Clones are cheap and share everything. The slot is not evicted while a handle to it exists. A
/// handle may outlive its [`TokenCache`].
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower::service_fn;
/// use tower_oauth2::{AccessToken, ClientAuth, ConfigError, Credentials, TokenRequest, Tokens};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // A `TokenEndpoint` in production:
/// let source = service_fn(|_: TokenRequest| async {
///     Ok::<_, ConfigError>(AccessToken::new("t")?.with_expires_in(Duration::from_secs(3600)))
/// });
///
/// let credentials = Credentials::new(
///     "https://auth.example.com/token",
///     ClientAuth::client_secret_basic("client-id", "s3cr3t"),
/// )?;
/// let tokens = Tokens::new(credentials, source);
///
/// let token = tokens.get().await?;
/// assert_eq!(token.secret(), "t");
///
/// // An API that you do not call through a layer rejected the token:
/// token.reject();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tokens {
    slot: SlotHandle,
    /// The origins of this handle.
    ///
    /// Equal credentials share a slot, even if their handles allow different origins.
    origins: Option<Origins>,
}

impl Tokens {
    /// Creates a cache for one set of credentials over `source`, with default settings.
    ///
    /// Use [`TokenCache::builder`] for other settings, or for many credentials.
    pub fn new(credentials: Credentials, source: impl TokenSource) -> Self {
        TokenCache::new(source).tokens(&credentials)
    }

    /// Creates a handle that always returns `token`, for tests and API keys.
    ///
    /// Nothing is fetched, and no runtime is needed. The token is used after its end too, and
    /// rejecting it has no effect. A request whose token an API rejects is not resent: the response
    /// has [`NotReplayed::FixedToken`](crate::replay::NotReplayed::FixedToken) in its extensions.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_oauth2::{AccessToken, Tokens};
    ///
    /// let tokens = Tokens::fixed(AccessToken::new("t")?);
    /// assert!(tokens.status().is_usable());
    /// # Ok::<(), tower_oauth2::ConfigError>(())
    /// ```
    #[doc(alias("static token", "API key"))]
    pub fn fixed(token: AccessToken) -> Self {
        fixed::fixed(token)
    }

    pub(super) fn in_slot(slot: SlotHandle) -> Self {
        Self { slot, origins: None }
    }

    /// Returns the credentials.
    pub fn credentials(&self) -> &Credentials {
        self.slot.credentials()
    }

    /// Returns a handle whose tokens are sent to `origins` only.
    ///
    /// A layer sends a token to an origin that both the layer and the handle list. Other requests
    /// are sent without a token. A handle that is narrowed twice allows only the origins that both
    /// calls list.
    ///
    /// A relative URI stands for the origins that the layer lists. If `origins` allow some of them
    /// and not the others, the layer cannot tell where the request goes, and the request fails with
    /// [`TokenErrorKind::UnknownOrigin`](crate::TokenErrorKind::UnknownOrigin).
    ///
    /// # Example
    ///
    /// ```
    /// use tower_oauth2::{Origins, Tokens};
    ///
    /// fn for_shop(tokens: &Tokens) -> Result<Tokens, tower_oauth2::ConfigError> {
    ///     Ok(tokens.clone().only_for(Origins::only("https://shop.example.com")?))
    /// }
    /// # let _ = for_shop;
    /// ```
    #[doc(alias("audience", "tenant"))]
    #[must_use]
    pub fn only_for(self, origins: Origins) -> Self {
        let origins = match &self.origins {
            Some(earlier) => earlier.intersection(&origins),
            None => origins,
        };
        Self { origins: Some(origins), ..self }
    }

    /// Returns the origins of [`only_for`](Self::only_for).
    #[inline]
    pub(crate) fn narrower_origins(&self) -> Option<&Origins> {
        self.origins.as_ref()
    }

    /// Returns the current token, and fetches one if there is none.
    ///
    /// Dropping the future does not stop the token request: the token arrives for the next caller.
    ///
    /// # Errors
    ///
    /// Returns a [`TokenError`] if no token is available. Callers that waited together get the same
    /// error. A caller that has to wait outside of a tokio runtime with a timer gets
    /// [`TokenErrorKind::NoRuntime`](crate::TokenErrorKind::NoRuntime).
    #[doc(alias("access token", "get_token", "fetch", "single flight"))]
    pub async fn get(&self) -> Result<CachedToken, TokenError> {
        self.slot.get(Requirements::default()).await.map(CachedToken::new)
    }

    /// Fetches a token if there is none, for example before the first request.
    ///
    /// # Errors
    ///
    /// Returns a [`TokenError`] if no token is available. Outside of a tokio runtime with a timer,
    /// it is [`TokenErrorKind::NoRuntime`](crate::TokenErrorKind::NoRuntime).
    #[doc(alias("prefetch", "preload"))]
    pub async fn warm(&self) -> Result<(), TokenError> {
        self.get().await.map(drop)
    }

    /// Keeps a token fetched and renewed without any traffic.
    ///
    /// It spawns a task that ends with the last handle to these tokens, or with its runtime.
    /// Calling it again has no effect while the task runs. The task logs its failures. A caller
    /// that finds no token gets the last failure.
    ///
    /// # Errors
    ///
    /// Returns [`TokenErrorKind::NoRuntime`](crate::TokenErrorKind::NoRuntime) outside of a tokio
    /// runtime with a timer.
    #[doc(alias("background refresh", "auto refresh", "proactive"))]
    pub fn keep_warm(&self) -> Result<(), TokenError> {
        keep_warm::keep_warm(&self.slot)
    }

    /// Returns the state of the slot, for health checks and status pages.
    ///
    /// It does not fetch a token.
    #[doc(alias("health check", "readiness"))]
    pub fn status(&self) -> TokenStatus {
        TokenStatus::new(self.slot.status())
    }

    /// Returns the current token, and then each token that replaces it.
    ///
    /// Use it for connections whose password is a token, such as those to a database.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use tower_oauth2::Tokens;
    ///
    /// # async fn authenticate(_password: &str) -> bool { true }
    /// async fn keep_authenticated(tokens: Tokens) {
    ///     let mut changes = tokens.changes();
    ///     loop {
    ///         match changes.next().await {
    ///             Ok(token) if authenticate(token.secret()).await => {}
    ///             Ok(token) => token.reject(),
    ///             Err(error) => eprintln!("no password: {error}"),
    ///         }
    ///     }
    /// }
    /// ```
    #[doc(alias("watch", "stream", "subscribe", "database password"))]
    pub fn changes(&self) -> TokenChanges {
        TokenChanges::new(self.clone())
    }

    /// Returns the label of the credentials in metrics.
    pub(crate) fn metric_label(&self) -> MetricLabel {
        self.slot.fetcher().metric_labels.of(self.credentials())
    }

    pub(super) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// Returns the token of a hit.
    ///
    /// It is the one in the service's own memory if that is still current.
    #[inline]
    pub(crate) fn peek_with<'a>(&self, local: &'a mut LocalToken) -> Option<TokenRef<'a>> {
        let now = Instant::now();
        if local.is_fresh(self.slot.published_issue(), now) {
            return local.get();
        }
        let token = self.peek_at(now)?;
        local.keep(token.token());
        Some(token)
    }

    /// Returns the token of a hit.
    #[inline]
    pub(crate) fn peek(&self) -> Option<TokenRef<'static>> {
        self.peek_at(Instant::now())
    }

    #[inline]
    fn peek_at(&self, now: Instant) -> Option<TokenRef<'static>> {
        match self.slot.lookup(now) {
            Lookup::Hit(published) => Some(TokenRef::Published(published)),
            Lookup::HitAndTick(published) => {
                self.slot.tick();
                Some(TokenRef::Published(published))
            }
            Lookup::Miss => None,
        }
    }

    /// Returns the token to send instead of `token`, which was acquired earlier.
    ///
    /// It is a newer token or the same one. Returns `None` if the request must acquire another one.
    pub(crate) fn recheck(
        &self,
        token: &Arc<IssuedToken>,
        required: &Requirements,
    ) -> Option<Arc<IssuedToken>> {
        let newer = self.slot.hit(required);
        newer.or_else(|| self.slot.may_send(token, required.origin).then(|| token.clone()))
    }

    /// Waits for a token that satisfies `required`.
    pub(crate) fn acquire(
        &self,
        required: Requirements,
    ) -> impl Future<Output = Result<Arc<IssuedToken>, TokenError>> + Send + use<> {
        let slot = self.slot.clone();
        async move { slot.get(required).await }
    }

    /// Judges the rejection of a token, and drops the token if it counts.
    pub(crate) fn reject(&self, rejection: &Rejection) -> (RejectionOutcome, Suspicions) {
        let judged = self.slot.reject(rejection);
        self.slot.watch_breaker();
        judged
    }

    /// Reports that an API rejected a fresh token after a resend.
    pub(crate) fn report_refusal(&self, issue: IssueId, target: Target) -> Suspicions {
        let suspicions = self.slot.fresh_token_rejected(issue, target);
        self.slot.watch_breaker();
        suspicions
    }

    /// Returns whether an acceptance of a first send is worth a call of
    /// [`report_acceptance`](Self::report_acceptance).
    #[inline]
    pub(crate) fn has_suspicions(&self) -> bool {
        self.slot.is_suspicious()
    }

    /// Reports that an API accepted a token, if the breaker needs to know.
    ///
    /// `target` is called only then, because it hashes the request.
    pub(crate) fn report_acceptance(
        &self,
        (issue, send): (IssueId, SendNumber),
        target: impl FnOnce() -> Target,
    ) {
        let hint = self.slot.acceptance_hint();
        // The acceptance of a replay matters while the breaker is reset too: it shows that the
        // rejection before it was a revocation.
        if hint == 0 && send == SendNumber::First {
            return;
        }
        let target = target();
        if hint != breaker::acceptance_hash(issue, target.origin) {
            self.slot.token_accepted(issue, target);
        }
    }

    /// Starts a fetch for the next request if `required` needs one.
    pub(crate) fn prefetch(&self, required: &Requirements) {
        self.slot.prefetch(required);
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("credentials", self.credentials()).finish_non_exhaustive()
    }
}
