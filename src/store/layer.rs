use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tower::{Layer, Service, ServiceExt};

use super::TokenStore;
use super::claims::Claims;
use super::fetch::{self, SharedStore};
use super::health::Health;
use super::patience::Patience;
use crate::credentials::request::TokenRequest;
use crate::token::AccessToken;
use crate::util::backoff::Backoff;
use crate::util::limits::MAX_LIFETIME;

/// Shares tokens through a [`TokenStore`].
///
/// The layer looks into the store before it asks the inner service, and stores what that returns.
///
/// - When several processes need a token at once, one asks for it, under a lease in the store, and
///   the others take what it stored. A process that dies holds the others up until its lease ends.
///   A token request whose runtime does not poll it holds up others of its own process for about a
///   second.
/// - A token that an API has rejected is never returned from the store. It is replaced there only
///   if it is still the stored one.
/// - A store that is down, slow, full, read-only or full of malformed data costs a bounded delay,
///   never a request: each operation has a deadline, and after a failure the store is left alone
///   for a while. Credentials are independent of each other, so that those on other servers of the
///   store go on sharing.
/// - A token that the store does not accept ([`ValueNotAccepted`](crate::store::ValueNotAccepted)) is not
///   shared. Others are.
/// - A token lives as long as the store or its record says, whichever is shorter.
///
/// Place the layer outside retries and timeouts, so that they bound the token request and not the
/// wait for another process. Clones, and all services that the layer creates, share the health of
/// the store and the leases of this process.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower::ServiceBuilder;
/// use tower::timeout::TimeoutLayer;
/// use tower_oauth2::store::{MemoryStore, TokenStoreLayer};
/// # use tower::service_fn;
/// # use tower_oauth2::{AccessToken, ClientAuth, Credentials, TokenCache, TokenRequest};
/// # let endpoint = service_fn(|_: TokenRequest| async { AccessToken::new("t") });
/// # let credentials = Credentials::new("https://a.test", ClientAuth::none("id"))?;
///
/// let source = ServiceBuilder::new()
///     .layer(TokenStoreLayer::new(MemoryStore::new()))
///     .layer(TimeoutLayer::new(Duration::from_secs(10)))
///     .service(endpoint);
/// let tokens = TokenCache::new(credentials, source);
/// # let _ = tokens;
/// # Ok::<(), tower_oauth2::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct TokenStoreLayer {
    shared: Arc<SharedStore>,
}

impl TokenStoreLayer {
    /// Creates a layer that shares tokens through `store`.
    pub fn new(store: impl TokenStore) -> Self {
        let health = Health::new(
            Duration::from_millis(250),
            Backoff::new(Duration::from_secs(1), Duration::from_secs(30)),
        );
        let shared = SharedStore {
            store: Arc::new(store),
            health,
            lease: Duration::from_secs(10),
            claims: Claims::default(),
            patience: Patience::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Sets the deadline of one operation of the store: 250 ms by default, a year at most.
    ///
    /// A token request takes at most seven operations besides those of waiting for another process,
    /// and waits for none after the first that fails. While it waits for another process, a second one
    /// may fail.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        let health = Health::new(deadline.min(MAX_LIFETIME), self.shared.health.backoff);
        self.edit(|shared| SharedStore { health, ..shared })
    }

    /// Sets how long the store is left alone after a failure: 1 s to 30 s by default. Then one
    /// token request tries it.
    ///
    /// A failure concerns the credentials of its token request. After failures for 16 different
    /// credentials in a row, without a success in between, the store is left alone for all.
    #[must_use]
    pub fn backoff(self, backoff: Backoff) -> Self {
        let health = Health::new(self.shared.health.deadline, backoff);
        self.edit(|shared| SharedStore { health, ..shared })
    }

    /// Sets the duration of a lease: 10 s by default, at least 100 ms and at most a year.
    ///
    /// The process that holds the lease extends it while it asks for a token. When that process
    /// dies, another one takes its place after this time. A process that has waited for one and a
    /// half times this duration asks for itself. It does not wait for the lease on these credentials
    /// again until it has found that lease free.
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        let lease = lease.clamp(Duration::from_millis(100), MAX_LIFETIME);
        self.edit(|shared| SharedStore { lease, ..shared })
    }

    fn edit(self, change: impl FnOnce(SharedStore) -> SharedStore) -> Self {
        let SharedStore { store, health, lease, .. } = &*self.shared;
        let shared = SharedStore {
            store: store.clone(),
            health: Health::new(health.deadline, health.backoff),
            lease: *lease,
            claims: Claims::default(),
            patience: Patience::default(),
        };
        Self { shared: Arc::new(change(shared)) }
    }
}

impl<S> Layer<S> for TokenStoreLayer {
    type Service = StoredTokens<S>;

    fn layer(&self, inner: S) -> Self::Service {
        StoredTokens { inner, shared: self.shared.clone() }
    }
}

impl fmt::Debug for TokenStoreLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

/// Looks for tokens in a store before it asks the inner service. Created by a [`TokenStoreLayer`].
///
/// # Errors
///
/// Returns only the errors of the inner service.
#[derive(Clone)]
pub struct StoredTokens<S> {
    inner: S,
    shared: Arc<SharedStore>,
}

impl<S> StoredTokens<S> {
    /// Returns a reference to the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S> Service<TokenRequest> for StoredTokens<S>
where
    S: Service<TokenRequest, Response = AccessToken> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = AccessToken;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<AccessToken, S::Error>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // The inner service is made ready in `call`, once the store has no token. Until then, it
        // would hold a reservation for nothing.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: TokenRequest) -> Self::Future {
        let ask = self.inner.clone().oneshot(request.clone());
        let shared = self.shared.clone();
        Box::pin(async move {
            if Handle::try_current().is_err() {
                // Without a runtime there is no timer for deadlines.
                return ask.await;
            }
            fetch::fetch(shared, request, ask).await
        })
    }
}

impl<S: fmt::Debug> fmt::Debug for StoredTokens<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredTokens").field("inner", &self.inner).finish_non_exhaustive()
    }
}
