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
use crate::backoff::Backoff;
use crate::request::TokenRequest;
use crate::token::{AccessToken, MAX_LIFETIME};

/// Shares tokens through a [`TokenStore`]: looks there before it asks the service inside, and keeps
/// there what that answers.
///
/// - However many processes need a token at once, one asks for it, under a lease in the store, and the others
///   take what it stored. A process that dies holds the others up for as long as its lease lasts.
/// - A token that an API has rejected is never answered from the store, and is replaced there only if it
///   is still the one stored.
/// - A store that is down, slow, full, read-only or full of rubbish costs a bounded delay, never a
///   request: each operation has a deadline, and after a failure the store is left alone for a while.
/// - A token's lifetime goes on from what is left of it by the store's clock.
///
/// Put it outside of retries and timeouts, so that they bound the token request and not the wait for another
/// process. Clones, and all services that it makes, share what is known of the store's health.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower::ServiceBuilder;
/// use tower::timeout::TimeoutLayer;
/// use tower_oauth2::{MemoryStore, StoreLayer};
/// # use tower::service_fn;
/// # use tower_oauth2::{AccessToken, ClientAuth, ClientCredentials, TokenCache, TokenRequest};
/// # let endpoint = service_fn(|_: TokenRequest| async { AccessToken::new("t") });
/// # let credentials = ClientCredentials::new("https://a.test", ClientAuth::none("id"))?;
///
/// let source = ServiceBuilder::new()
///     .layer(StoreLayer::new(MemoryStore::new()))
///     .layer(TimeoutLayer::new(Duration::from_secs(10)))
///     .service(endpoint);
/// let tokens = TokenCache::new(credentials, source);
/// # let _ = tokens;
/// # Ok::<(), tower_oauth2::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct StoreLayer {
    shared: Arc<SharedStore>,
}

impl StoreLayer {
    /// Shares tokens through `store`.
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
        };
        Self { shared: Arc::new(shared) }
    }

    /// How long one operation of the store may take: 250 ms unless set, and a year at most. A token request takes six
    /// of them at most besides those of waiting for another process, and waits for none after the first that fails.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        let health = Health::new(deadline.min(MAX_LIFETIME), self.shared.health.backoff);
        self.edit(|shared| SharedStore { health, ..shared })
    }

    /// How long the store is left alone after a failure: 1 s to 30 s unless set. Then one token request tries it.
    #[must_use]
    pub fn backoff(self, backoff: Backoff) -> Self {
        let health = Health::new(self.shared.health.deadline, backoff);
        self.edit(|shared| SharedStore { health, ..shared })
    }

    /// How long the lease lasts that the process has which asks for all: 10 s unless set, at least 100 ms and a year at
    /// most. While that process lives it is made to last longer; when it dies, another takes its place after
    /// this time. Whoever waits for a lease and a half asks for itself.
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        let lease = lease.clamp(Duration::from_millis(100), MAX_LIFETIME);
        self.edit(|shared| SharedStore { lease, ..shared })
    }

    fn edit(self, change: impl FnOnce(SharedStore) -> SharedStore) -> Self {
        let SharedStore { store, health, lease, claims: _ } = &*self.shared;
        let health = Health::new(health.deadline, health.backoff);
        let (store, claims) = (store.clone(), Claims::default());
        let shared = SharedStore { store, health, lease: *lease, claims };
        Self { shared: Arc::new(change(shared)) }
    }
}

impl<S> Layer<S> for StoreLayer {
    type Service = Store<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Store { inner, shared: self.shared.clone() }
    }
}

impl fmt::Debug for StoreLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

/// Looks for tokens in a store before it asks the service inside; made by a [`StoreLayer`].
///
/// # Errors
///
/// The inner service's own only.
#[derive(Clone)]
pub struct Store<S> {
    inner: S,
    shared: Arc<SharedStore>,
}

impl<S> Store<S> {
    /// The service inside.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service inside.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service inside.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S> Service<TokenRequest> for Store<S>
where
    S: Service<TokenRequest, Response = AccessToken> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = AccessToken;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<AccessToken, S::Error>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // The inner service is made ready in `call`, once it is known that it is to be asked: nothing
        // is held until then.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: TokenRequest) -> Self::Future {
        let ask = self.inner.clone().oneshot(request.clone());
        let shared = self.shared.clone();
        Box::pin(async move {
            if Handle::try_current().is_err() {
                // Without a runtime there are no deadlines.
                return ask.await;
            }
            fetch::fetch(shared, request, ask).await
        })
    }
}

impl<S: fmt::Debug> fmt::Debug for Store<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("inner", &self.inner).finish_non_exhaustive()
    }
}
