//! Shared tokens: a hit costs next to nothing, a miss is one token request for all.

mod builder;
mod flight;
mod schedule;
mod slot;
mod slots;
mod warm;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use tokio::time::Instant;
use tower::{BoxError, Service};

pub use self::builder::TokenCacheBuilder;
use self::flight::Control;
pub(crate) use self::slot::{AtHand, Grant, Hit};
use self::slot::{InSlot, Peek, Slot};
use crate::credentials::ClientCredentials;
use crate::error::TokenError;
use crate::request::TokenRequest;
use crate::token::AccessToken;

/// A cache of access tokens, one for each [`ClientCredentials`], over any source of them.
///
/// Clones share everything. It is used by an [`OAuth2Layer`](crate::OAuth2Layer), by several of them, and
/// without HTTP through [`get`](Self::get).
///
/// - A hit takes no exclusive lock, awaits nothing and allocates nothing.
/// - However many callers miss at once, one token request is made, in a task of its own: callers
///   that go away fail nobody.
/// - A token that is about to expire is renewed while callers go on with it.
/// - A rejected token is dropped once, however many callers report it.
/// - A failure is remembered for a short while, so that a broken endpoint is not flooded.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower::service_fn;
/// use tower_oauth2::{
///     AccessToken, ClientAuth, ClientCredentials, ConfigError, TokenCache, TokenRequest,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // In the place of a `TokenEndpoint`:
/// let source = service_fn(|_: TokenRequest| async {
///     Ok::<_, ConfigError>(AccessToken::new("t")?.with_expires_in(Duration::from_secs(3600)))
/// });
///
/// let credentials = ClientCredentials::new(
///     "https://auth.example.com/token",
///     ClientAuth::client_secret_basic("client-id", "s3cr3t"),
/// )?;
/// let tokens = TokenCache::new(credentials, source);
///
/// let token = tokens.get().await?;
/// assert_eq!(token.secret(), "t");
///
/// // An API that is not spoken to through a layer said no:
/// tokens.reject(&token);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TokenCache {
    shared: Arc<Shared>,
}

struct Shared {
    default: Arc<Slot>,
    control: Arc<Control>,
}

impl Drop for Shared {
    /// Tasks that keep slots warm hold the slots only, and end with the last handle.
    fn drop(&mut self) {
        self.default.retire();
        self.control.others.retire();
    }
}

impl TokenCache {
    /// A cache whose own credentials are `credentials`, over `source`, with default settings.
    pub fn new<S>(credentials: ClientCredentials, source: S) -> Self
    where
        S: Service<TokenRequest, Response = AccessToken> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
    {
        Self::builder(credentials, source).build()
    }

    /// The same, with settings.
    pub fn builder<S>(credentials: ClientCredentials, source: S) -> TokenCacheBuilder
    where
        S: Service<TokenRequest, Response = AccessToken> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
    {
        TokenCacheBuilder::new(credentials, source)
    }

    fn from_parts(credentials: ClientCredentials, control: Control) -> Self {
        Self {
            shared: Arc::new(Shared {
                default: Arc::new(Slot::new(credentials)),
                control: Arc::new(control),
            }),
        }
    }

    /// The cache's own credentials.
    pub fn credentials(&self) -> &ClientCredentials {
        self.shared.default.credentials()
    }

    /// A token for the cache's own credentials.
    ///
    /// Dropping the future does not stop the token request: the token arrives for the next caller.
    ///
    /// # Errors
    ///
    /// A [`TokenError`] when no token can be had. Callers that waited together get the same one.
    pub async fn get(&self) -> Result<AccessToken, TokenError> {
        let shared = &self.shared;
        shared.default.get(&shared.control).await.map(|current| current.token().clone())
    }

    /// A token for `credentials`.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn get_for(
        &self,
        credentials: &ClientCredentials,
    ) -> Result<AccessToken, TokenError> {
        let held = self.hold(Some(credentials));
        held.slot().get(&held.control).await.map(|current| current.token().clone())
    }

    /// Drops `token`, which an API has rejected, so that the next caller gets another one.
    ///
    /// It counts only if this cache issued `token` and it is still the one that is handed out:
    /// reporting one token many times, or late, costs nothing.
    pub fn reject(&self, token: &AccessToken) {
        if let Some(issue) = token.issue() {
            self.reject_number(Some(&issue.credentials), issue.number, None);
        }
    }

    /// Fetches a token for the cache's own credentials if there is none: ahead of the first
    /// request, in a readiness probe.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn warm(&self) -> Result<(), TokenError> {
        self.get().await.map(drop)
    }

    /// Keeps a token for the cache's own credentials fetched and renewed without any traffic, in a
    /// task that ends with the last clone of this cache, or with its runtime. Once is enough.
    ///
    /// # Errors
    ///
    /// [`TokenErrorKind::NoRuntime`](crate::TokenErrorKind::NoRuntime) outside of a tokio runtime. What goes wrong later is in
    /// the trace, and in the errors of callers that find no token.
    pub fn keep_warm(&self) -> Result<(), TokenError> {
        warm::keep_warm(self.hold(None))
    }

    /// The same for `credentials`, until they are [removed](Self::remove); the cache's own are kept
    /// warm all the same.
    ///
    /// # Errors
    ///
    /// As [`keep_warm`](Self::keep_warm).
    pub fn keep_warm_for(&self, credentials: &ClientCredentials) -> Result<(), TokenError> {
        warm::keep_warm(self.hold(Some(credentials)))
    }

    /// Forgets all about `credentials`: token, failures, back-off. Callers that wait for a token at this
    /// moment get one; what a token request brings that is on its way is not kept.
    pub fn remove(&self, credentials: &ClientCredentials) {
        let shared = &self.shared;
        if shared.default.credentials() == credentials {
            shared.default.forget();
        } else if let Some(slot) = shared.control.others.remove(credentials) {
            slot.retire();
        }
    }

    /// For how many credentials besides the cache's own something is kept at present.
    pub fn others(&self) -> usize {
        self.shared.control.others.len()
    }

    /// The hit for the cache's own credentials.
    #[inline]
    pub(crate) fn peek<'a>(&self, at_hand: &'a mut AtHand) -> Option<Hit<'a>> {
        let Shared { default, control } = &*self.shared;
        let now = Instant::now();
        if at_hand.is_fresh(default.number(), now) {
            return at_hand.hit();
        }
        let found = Self::peek_slot(default, control, now)?;
        at_hand.take(&found);
        Some(Hit::InSlot(found))
    }

    /// The hit for the credentials that a request names.
    pub(crate) fn peek_for(&self, credentials: &ClientCredentials) -> Option<Hit<'static>> {
        let Shared { default, control } = &*self.shared;
        let now = Instant::now();
        if credentials == default.credentials() {
            return Self::peek_slot(default, control, now).map(Hit::InSlot);
        }
        // A renewal begins when the lock on the others is given back.
        let (found, due) = control.others.with(credentials, now, |slot| match slot.peek(now) {
            Peek::Hit(found) => (Some(found), None),
            Peek::Due(found) => (Some(found), Some(slot.clone())),
            Peek::Miss => (None, None),
        })?;
        if let (Some(slot), Some(found)) = (due, &found) {
            slot.renew(control, found.number());
            control.others.release(slot);
        }
        found.map(Hit::InSlot)
    }

    #[inline]
    fn peek_slot(slot: &Arc<Slot>, control: &Arc<Control>, now: Instant) -> Option<InSlot> {
        match slot.peek(now) {
            Peek::Hit(found) => Some(found),
            Peek::Due(found) => {
                slot.renew(control, found.number());
                Some(found)
            }
            Peek::Miss => None,
        }
    }

    /// The token to send in the place of `grant`, which has been at hand for a while: a newer one, or
    /// the same, but not one that has been rejected since.
    pub(crate) fn freshen(
        &self,
        credentials: Option<&ClientCredentials>,
        grant: &Grant,
    ) -> Option<Grant> {
        let hit = self.peek_for(credentials.unwrap_or_else(|| self.credentials()));
        hit.map(|hit| hit.grant()).or_else(|| {
            let held = self.find(credentials);
            (!held.is_some_and(|held| held.slot().is_over(grant))).then(|| grant.clone())
        })
    }

    /// The miss.
    pub(crate) fn grant(
        &self,
        credentials: Option<&ClientCredentials>,
    ) -> impl Future<Output = Result<Grant, TokenError>> + Send + use<> {
        let held = self.hold(credentials);
        async move { held.slot().get(&held.control).await.map(|current| current.grant()) }
    }

    /// Drops the token of this number; another one is to have these claims.
    pub(crate) fn reject_number(
        &self,
        credentials: Option<&ClientCredentials>,
        number: u64,
        claims: Option<Arc<str>>,
    ) {
        if let Some(held) = self.find(credentials) {
            held.slot().reject(number, claims);
        }
    }

    /// Starts to fetch what the next request will want.
    pub(crate) fn prefetch(&self, credentials: Option<&ClientCredentials>) {
        let held = self.hold(credentials);
        held.slot().prefetch(&held.control);
    }

    /// Returns the slot, if there is one.
    fn find(&self, credentials: Option<&ClientCredentials>) -> Option<SlotGuard> {
        let Shared { default, control } = &*self.shared;
        let slot = match credentials {
            Some(credentials) if credentials != default.credentials() => {
                control.others.with(credentials, Instant::now(), Arc::clone)?
            }
            _ => default.clone(),
        };
        Some(SlotGuard { slot: Some(slot), control: control.clone() })
    }

    fn hold(&self, credentials: Option<&ClientCredentials>) -> SlotGuard {
        let Shared { default, control } = &*self.shared;
        let slot = match credentials {
            Some(credentials) if credentials != default.credentials() => {
                control.others.get_or_insert(credentials)
            }
            _ => default.clone(),
        };
        SlotGuard { slot: Some(slot), control: control.clone() }
    }
}

/// Holds a slot, which is not evicted before the guard is dropped.
struct SlotGuard {
    /// `None` during drop only.
    slot: Option<Arc<Slot>>,
    control: Arc<Control>,
}

impl SlotGuard {
    fn slot(&self) -> &Arc<Slot> {
        self.slot.as_ref().expect("the slot is taken on drop only")
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.control.others.release(slot);
        }
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache")
            .field("credentials", self.credentials())
            .field("others", &self.others())
            .finish_non_exhaustive()
    }
}
