//! Shared tokens: a hit costs next to nothing, and a miss is one token request for all callers.

mod breaker;
mod builder;
mod claims;
mod fetch;
mod fetcher;
mod issued;
mod keep_warm;
mod machine;
mod schedule;
mod slot;
mod slot_guard;
mod slots;
mod sweeper;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use tokio::time::Instant;
use tower::{BoxError, Service};

pub(crate) use self::breaker::{SendNumber, Target};
pub use self::builder::TokenCacheBuilder;
pub(crate) use self::claims::Claims;
use self::fetcher::Fetcher;
pub(crate) use self::issued::{IssueId, IssuedToken, LocalToken, Sequence, TokenRef};
pub(crate) use self::machine::{Rejection, RejectionOutcome, Requirements, Suspicions};
use self::slot::{Lookup, Slot};
use self::slot_guard::SlotGuard;
use crate::credentials::Credentials;
use crate::credentials::request::TokenRequest;
use crate::error::TokenError;
use crate::token::AccessToken;
use crate::util::clock::Now;

/// Caches access tokens, one for each [`Credentials`], over any source of tokens.
///
/// Clones share everything. One or several [`OAuth2Layer`](crate::OAuth2Layer)s use a cache;
/// without HTTP, call [`get`](Self::get).
///
/// - A hit takes no exclusive lock, awaits nothing and allocates nothing.
/// - Callers that miss at the same time share one token request. It runs in a task of its own, so a
///   caller that is dropped does not cancel it.
/// - A token that is about to expire is renewed while callers continue to use it.
/// - A rejected token is dropped once, however many callers report it.
/// - A failure is remembered for a short while, so that a broken endpoint is not flooded.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower::service_fn;
/// use tower_oauth2::{AccessToken, ClientAuth, ConfigError, Credentials, TokenCache, TokenRequest};
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
/// let tokens = TokenCache::new(credentials, source);
///
/// let token = tokens.get().await?;
/// assert_eq!(token.secret(), "t");
///
/// // An API that you do not call through a layer rejected the token:
/// tokens.reject(&token);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TokenCache {
    handle: Arc<CacheHandle>,
}

/// The part of a cache that is dropped with its last clone. Tasks hold slots and fetcher only.
struct CacheHandle {
    default: Arc<Slot>,
    fetcher: Arc<Fetcher>,
}

impl Drop for CacheHandle {
    fn drop(&mut self) {
        self.default.retire();
        self.fetcher.slots.retire();
        self.fetcher.sweeper.end();
    }
}

impl TokenCache {
    /// Creates a cache for `credentials` over `source`, with default settings.
    pub fn new<S>(credentials: Credentials, source: S) -> Self
    where
        S: Service<TokenRequest, Response = AccessToken> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
    {
        Self::builder(credentials, source).build()
    }

    /// Starts to build a cache for `credentials` over `source`.
    pub fn builder<S>(credentials: Credentials, source: S) -> TokenCacheBuilder
    where
        S: Service<TokenRequest, Response = AccessToken> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
    {
        TokenCacheBuilder::new(credentials, source)
    }

    fn from_parts(credentials: Credentials, fetcher: Fetcher) -> Self {
        let default = Arc::new(Slot::new(credentials));
        Self { handle: Arc::new(CacheHandle { default, fetcher: Arc::new(fetcher) }) }
    }

    /// Returns the cache's own credentials.
    pub fn credentials(&self) -> &Credentials {
        self.handle.default.credentials()
    }

    /// Returns a token for the cache's own credentials.
    ///
    /// Dropping the future does not stop the token request: the token arrives for the next caller.
    ///
    /// # Errors
    ///
    /// Returns a [`TokenError`] if no token is available. Callers that waited together get the same
    /// one. A caller that has to wait needs a tokio runtime with a timer
    /// ([`TokenErrorKind::NoRuntime`](crate::TokenErrorKind::NoRuntime)).
    pub async fn get(&self) -> Result<AccessToken, TokenError> {
        self.acquire(None, Requirements::default()).await.map(|token| token.access_token().clone())
    }

    /// Returns a token for `credentials`.
    ///
    /// # Errors
    ///
    /// Returns a [`TokenError`] if no token is available, as [`get`](Self::get) does.
    pub async fn get_for(&self, credentials: &Credentials) -> Result<AccessToken, TokenError> {
        let token = self.acquire(Some(credentials), Requirements::default()).await?;
        Ok(token.access_token().clone())
    }

    /// Drops `token`, which an API has rejected, so that the next caller gets another one.
    ///
    /// Has an effect only if this cache issued `token` and still hands it out. Reporting one token
    /// several times, or late, costs nothing.
    pub fn reject(&self, token: &AccessToken) {
        let Some(issue) = token.issue() else {
            return;
        };
        if let Some(guard) = self.find(Some(&issue.credentials)) {
            guard.slot().reject(&Rejection {
                issue: issue.number,
                target: None,
                claims: Claims::default(),
                send: SendNumber::First,
            });
        }
    }

    /// Fetches a token for the cache's own credentials if there is none, for example before the
    /// first request or in a readiness probe.
    ///
    /// # Errors
    ///
    /// Returns a [`TokenError`] if no token is available, as [`get`](Self::get) does.
    pub async fn warm(&self) -> Result<(), TokenError> {
        self.get().await.map(drop)
    }

    /// Keeps a token for the cache's own credentials fetched and renewed without any traffic.
    ///
    /// Spawns a task that ends with the last clone of this cache, or with its runtime. Calling this
    /// again has no effect while the task runs. Failures of the task are logged, and callers that
    /// find no token get them.
    ///
    /// # Errors
    ///
    /// Returns [`TokenErrorKind::NoRuntime`](crate::TokenErrorKind::NoRuntime) outside of a tokio
    /// runtime with a timer.
    pub fn keep_warm(&self) -> Result<(), TokenError> {
        keep_warm::keep_warm(self.hold(None))
    }

    /// Keeps a token for `credentials` fetched and renewed until they are
    /// [removed](Self::remove).
    ///
    /// # Errors
    ///
    /// Returns [`TokenErrorKind::NoRuntime`](crate::TokenErrorKind::NoRuntime) outside of a tokio
    /// runtime with a timer.
    pub fn keep_warm_for(&self, credentials: &Credentials) -> Result<(), TokenError> {
        keep_warm::keep_warm(self.hold(Some(credentials)))
    }

    /// Forgets token, failures and back-off of `credentials`.
    ///
    /// Callers that are waiting for a token get one. The result of a token request that is under
    /// way is not kept.
    pub fn remove(&self, credentials: &Credentials) {
        let CacheHandle { default, fetcher } = &*self.handle;
        if default.credentials() == credentials {
            default.forget();
        } else if let Some(slot) = fetcher.slots.remove(credentials) {
            slot.retire();
        }
    }

    /// Returns the number of credentials that the cache keeps besides its own.
    pub fn len(&self) -> usize {
        self.handle.fetcher.slots.len()
    }

    /// Returns the token of a hit for the cache's own credentials.
    #[inline]
    pub(crate) fn peek<'a>(&self, local: &'a mut LocalToken) -> Option<TokenRef<'a>> {
        let CacheHandle { default, fetcher } = &*self.handle;
        let now = Instant::now();
        if local.is_fresh(default.published_issue(), now) {
            return local.get();
        }
        let published = match default.lookup(now) {
            Lookup::Hit(published) => published,
            Lookup::HitAndTick(published) => {
                default.tick(fetcher);
                published
            }
            Lookup::Miss => return None,
        };
        local.keep(published.token());
        Some(TokenRef::Published(published))
    }

    /// Returns the token of a hit for the credentials that a request names.
    pub(crate) fn peek_for(&self, credentials: &Credentials) -> Option<TokenRef<'static>> {
        let CacheHandle { default, fetcher } = &*self.handle;
        let now = Instant::now();
        let (lookup, guard) = if credentials == default.credentials() {
            (default.lookup(now), None)
        } else {
            // The renewal starts after the lock on the slots is released.
            fetcher.slots.with(credentials, now, |slot| match slot.lookup(now) {
                lookup @ Lookup::HitAndTick(_) => (lookup, Some(self.guard(slot.clone()))),
                lookup => (lookup, None),
            })?
        };
        match lookup {
            Lookup::Hit(published) => Some(TokenRef::Published(published)),
            Lookup::HitAndTick(published) => {
                guard.as_ref().map_or(default, SlotGuard::slot).tick(fetcher);
                Some(TokenRef::Published(published))
            }
            Lookup::Miss => None,
        }
    }

    /// Returns the token to send instead of `token`, which was acquired a while ago: a newer one, or
    /// the same. Returns `None` if the request must acquire another one.
    pub(crate) fn recheck(
        &self,
        credentials: Option<&Credentials>,
        token: &Arc<IssuedToken>,
        required: &Requirements,
    ) -> Option<Arc<IssuedToken>> {
        let Some(guard) = self.find(credentials) else {
            return (!token.is_over(Now::read())).then(|| token.clone());
        };
        let newer = guard.slot().hit(guard.fetcher(), required);
        newer.or_else(|| guard.slot().may_send(token, required.origin).then(|| token.clone()))
    }

    /// Waits for a token that satisfies `required`.
    pub(crate) fn acquire(
        &self,
        credentials: Option<&Credentials>,
        required: Requirements,
    ) -> impl Future<Output = Result<Arc<IssuedToken>, TokenError>> + Send + use<> {
        let guard = self.hold(credentials);
        async move { guard.slot().get(guard.fetcher(), required).await }
    }

    /// Judges the rejection of a token by an API, and drops the token if the rejection counts.
    pub(crate) fn reject_issue(
        &self,
        credentials: Option<&Credentials>,
        rejection: &Rejection,
    ) -> (RejectionOutcome, Suspicions) {
        let guard = self.hold(credentials);
        let judged = guard.slot().reject(rejection);
        guard.watch_breaker();
        judged
    }

    /// Reports that an API rejected a fresh token after a resend.
    pub(crate) fn report_refusal(
        &self,
        credentials: Option<&Credentials>,
        issue: IssueId,
        target: Target,
    ) -> Suspicions {
        let guard = self.hold(credentials);
        let suspicions = guard.slot().fresh_token_rejected(issue, target);
        guard.watch_breaker();
        suspicions
    }

    /// Returns whether an acceptance of a first send is worth a call of
    /// [`report_acceptance`](Self::report_acceptance).
    #[inline]
    pub(crate) fn has_suspicions(&self) -> bool {
        self.handle.fetcher.sweeper.is_watching()
    }

    /// Reports that an API accepted a token, if the breaker of the credentials does not know that.
    ///
    /// `target` is called only then, because it hashes the request.
    pub(crate) fn report_acceptance(
        &self,
        credentials: Option<&Credentials>,
        (issue, send): (IssueId, SendNumber),
        target: impl FnOnce() -> Target,
    ) {
        let CacheHandle { default, fetcher } = &*self.handle;
        let hint = match credentials {
            Some(credentials) if credentials != default.credentials() => {
                let now = Instant::now();
                fetcher.slots.with(credentials, now, |slot| slot.acceptance_hint()).unwrap_or(0)
            }
            _ => default.acceptance_hint(),
        };
        // The acceptance of a replay is of interest while the breaker is closed too: it shows that the
        // rejection before it was a revocation.
        if hint == 0 && send == SendNumber::First {
            return;
        }
        let target = target();
        if hint == breaker::acceptance_hash(issue, target.origin) {
            return;
        }
        if let Some(guard) = self.find(credentials) {
            guard.slot().token_accepted(issue, target);
        }
    }

    /// Starts a fetch for the next request if `required` needs one.
    pub(crate) fn prefetch(&self, credentials: Option<&Credentials>, required: &Requirements) {
        let guard = self.hold(credentials);
        guard.slot().prefetch(guard.fetcher(), required);
    }

    /// Returns the slot of `credentials` if there is one.
    fn find(&self, credentials: Option<&Credentials>) -> Option<SlotGuard> {
        let CacheHandle { default, fetcher } = &*self.handle;
        let slot = match credentials {
            Some(credentials) if credentials != default.credentials() => {
                fetcher.slots.with(credentials, Instant::now(), Arc::clone)?
            }
            _ => default.clone(),
        };
        Some(self.guard(slot))
    }

    /// Returns the slot of `credentials`, and creates it if there is none.
    fn hold(&self, credentials: Option<&Credentials>) -> SlotGuard {
        let CacheHandle { default, fetcher } = &*self.handle;
        self.guard(match credentials {
            Some(credentials) if credentials != default.credentials() => {
                fetcher.slots.get_or_insert(credentials)
            }
            _ => default.clone(),
        })
    }

    fn guard(&self, slot: Arc<Slot>) -> SlotGuard {
        SlotGuard::new(slot, &self.handle.fetcher)
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache")
            .field("credentials", self.credentials())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
