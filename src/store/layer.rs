use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tower::{Layer, Service, ServiceExt};

use super::TokenStore;
use super::client::StoreClient;
use super::fetch;
use crate::credentials::request::TokenRequest;
use crate::token::AccessToken;
use crate::util::backoff::Backoff;
use crate::util::limits::MAX_LIFETIME;

/// Shares tokens between processes through a [`TokenStore`].
///
/// The layer looks for a token in the store before it calls the inner service, and stores the token
/// that the inner service returns.
///
/// - When several processes need a token at the same time, one of them calls its inner service
///   under a lease in the store. The others wait and use the token that it stores. If that process
///   dies, the others wait until its lease ends. If its runtime stops polling the token request,
///   other requests of the same process take over the lease after about a second.
/// - The layer never returns a token that an API has rejected. It replaces the rejected token in
///   the store, unless another process has replaced it already.
/// - A failing store never fails a token request, whether it is unreachable, slow, full, read-only
///   or returns malformed data. Each operation has a [`deadline`](Self::deadline), and after a
///   failure the layer does not use the store during a [`backoff`](Self::backoff). The back-off
///   applies per set of credentials, so credentials on other servers of the store stay shared.
/// - A token that the store [does not accept](crate::store::ValueNotAccepted) is not shared. Other
///   tokens are.
/// - A token expires when the store or its record says so, whichever is earlier.
///
/// The guarantees [S1](crate::guide::guarantees#s1) to [S7](crate::guide::guarantees#s7) state these
/// rules exactly.
///
/// Add the layer outside layers for retries and timeouts, so that these apply to the token request
/// and not to the wait for another process. Clones of the layer, and all services that it creates,
/// share the health of the store and the leases of this process. Use [`StoredTokens::new`] to wrap
/// one service with the default settings.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower::ServiceBuilder;
/// use tower::timeout::TimeoutLayer;
/// use tower_oauth2::store::{MemoryStore, TokenStoreLayer};
/// # use tower::service_fn;
/// # use tower_oauth2::{AccessToken, ClientAuth, Credentials, TokenRequest, Tokens};
/// # let endpoint = service_fn(|_: TokenRequest| async { AccessToken::new("t") });
/// # let credentials = Credentials::new("https://a.test", ClientAuth::none("id"))?;
///
/// let source = ServiceBuilder::new()
///     .layer(TokenStoreLayer::new(MemoryStore::new()))
///     .layer(TimeoutLayer::new(Duration::from_secs(10)))
///     .service(endpoint);
/// let tokens = Tokens::new(credentials, source);
/// # let _ = tokens;
/// # Ok::<(), tower_oauth2::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct TokenStoreLayer {
    client: Arc<StoreClient>,
}

impl TokenStoreLayer {
    /// Creates a layer that shares tokens through `store`.
    pub fn new(store: impl TokenStore) -> Self {
        Self { client: Arc::new(StoreClient::new(Arc::new(store))) }
    }

    /// Sets the deadline of one store operation (250 ms by default).
    ///
    /// The maximum is a year. A token request runs at most seven store operations, besides those
    /// that wait for another process, and stops using the store after the first failure. A second
    /// operation may fail while the request waits for another process.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        let deadline = deadline.min(MAX_LIFETIME);
        self.edit(|client| client.with_health(deadline, client.health.backoff))
    }

    /// Sets for how long a failed store is not used.
    ///
    /// The default is 1 s to 30 s. After the back-off, one token request tries the store. The
    /// others use it once that request has succeeded.
    ///
    /// A failure affects only the credentials of its token request. After failures for 16 different
    /// credentials in a row, without a success in between, the store is not used for any
    /// credentials.
    #[must_use]
    pub fn backoff(self, backoff: Backoff) -> Self {
        self.edit(|client| client.with_health(client.health.deadline, backoff))
    }

    /// Sets the duration of a lease (10 s by default).
    ///
    /// The minimum is 100 ms, and the maximum is a year. The process that holds the lease extends
    /// it until its token request ends. If that process dies, another one takes over after this
    /// time. A process that has waited for one and a half times this duration makes its own token
    /// request. After that, it does not wait for the lease of these credentials again until it has
    /// found that lease free.
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        let lease = lease.clamp(Duration::from_millis(100), MAX_LIFETIME);
        self.edit(|client| StoreClient { lease, ..client.with_new_state() })
    }

    fn edit(self, change: impl FnOnce(&StoreClient) -> StoreClient) -> Self {
        Self { client: Arc::new(change(&self.client)) }
    }
}

impl<S> Layer<S> for TokenStoreLayer {
    type Service = StoredTokens<S>;

    fn layer(&self, inner: S) -> Self::Service {
        StoredTokens { inner, client: self.client.clone() }
    }
}

impl fmt::Debug for TokenStoreLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.client.fmt(f)
    }
}

/// Looks for tokens in a store before it calls the inner service.
///
/// [`TokenStoreLayer`] describes how tokens are shared, and has the settings.
///
/// # Errors
///
/// Returns the errors of the inner service. A failing store is never an error.
///
/// # Example
///
/// ```
/// use tower_oauth2::Tokens;
/// use tower_oauth2::store::{MemoryStore, StoredTokens};
/// # use tower::service_fn;
/// # use tower_oauth2::{AccessToken, ClientAuth, Credentials, TokenRequest};
/// # let endpoint = service_fn(|_: TokenRequest| async { AccessToken::new("t") });
/// # let credentials = Credentials::new("https://a.test", ClientAuth::none("id"))?;
///
/// let tokens = Tokens::new(credentials, StoredTokens::new(endpoint, MemoryStore::new()));
/// # let _ = tokens;
/// # Ok::<(), tower_oauth2::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct StoredTokens<S> {
    inner: S,
    client: Arc<StoreClient>,
}

impl<S> StoredTokens<S> {
    /// Creates a service that shares the tokens of `inner` through `store`, with default settings.
    pub fn new(inner: S, store: impl TokenStore) -> Self {
        TokenStoreLayer::new(store).layer(inner)
    }

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
    /// Resolves to a stored token, or to a token of the inner service.
    type Future = Pin<Box<dyn Future<Output = Result<AccessToken, S::Error>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // `call` polls the inner service for readiness once the store has no token. A service that
        // is ready earlier would hold a reservation that it may not need.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: TokenRequest) -> Self::Future {
        let source = self.inner.clone().oneshot(request.clone());
        let client = self.client.clone();
        Box::pin(async move {
            // Deadlines need the timer of a tokio runtime.
            if Handle::try_current().is_err() {
                return source.await;
            }
            fetch::fetch(client, request, source).await
        })
    }
}

impl<S: fmt::Debug> fmt::Debug for StoredTokens<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredTokens").field("inner", &self.inner).finish_non_exhaustive()
    }
}
