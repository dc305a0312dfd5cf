//! The clients under test, as stacks of layers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_oauth2::replay::{ReplayBody, Replayable, ReplayableLayer};
use tower_oauth2::source::Backoff;
use tower_oauth2::store::TokenStoreLayer;
use tower_oauth2::{
    AccessToken, ClientAuth, Credentials, OAuth2, OAuth2Layer, Origins, TokenCache, TokenEndpoint,
    TokenRequest,
};

use crate::body::Stream;
use crate::issuer::{CLIENT_ID, CLIENT_SECRET};
use crate::ledger::Ledger;
use crate::store::FailingStore;

/// The most bytes of a stream that are buffered for a replay.
pub(crate) const LIMIT: usize = 16 * 1024;

/// The number of credentials in the stack with tenants.
const TENANTS: usize = 12;
/// The capacity of that stack's cache.
const SLOTS: usize = 4;

type Client<B> = legacy::Client<HttpConnector, B>;

#[derive(Clone)]
pub(crate) struct Stack {
    pub(crate) plain: OAuth2<Client<Full<Bytes>>>,
    pub(crate) stream: Replayable<OAuth2<Client<ReplayBody<Stream>>>>,
    pub(crate) has_store: bool,
    /// Set if each request names the tokens of one tenant.
    pub(crate) tenants: Option<Tenants>,
}

/// More tenants than slots in the cache.
#[derive(Clone)]
pub(crate) struct Tenants {
    pub(crate) cache: TokenCache,
    pub(crate) credentials: Vec<Credentials>,
}

/// Creates all clients under test.
pub(crate) fn all(
    token_endpoint: &str,
    api: &str,
    store: &FailingStore,
    ledger: &Ledger,
) -> Result<Vec<Stack>, BoxError> {
    let credentials = |audience: &str| {
        let auth = ClientAuth::client_secret_basic(CLIENT_ID, CLIENT_SECRET);
        Credentials::new(token_endpoint, auth).map(|made| made.audience(audience))
    };
    let endpoint = || TokenEndpoint::new(client()).timeout(Duration::from_millis(700));
    let single = single_flight(endpoint(), ledger);
    let tenants = (0..TENANTS).map(|n| credentials(&n.to_string())).collect::<Result<_, _>>()?;

    let plain = short_backoff(TokenCache::builder(single)).build().tokens(&credentials("plain")?);
    let warm = single_flight(endpoint(), ledger);
    let warm = short_backoff(TokenCache::builder(warm)).build().tokens(&credentials("warm")?);
    warm.keep_warm()?;
    let many = short_backoff(TokenCache::builder(endpoint())).capacity(SLOTS).build();
    let own = many.tokens(&credentials("many")?);
    let tenants = Tenants { cache: many, credentials: tenants };
    // Two processes that share a store.
    let shared = || {
        let layer = TokenStoreLayer::new(store.clone())
            .lease(Duration::from_secs(1))
            .backoff(Backoff::new(Duration::from_millis(50), Duration::from_millis(500)));
        let source = single_flight(layer.layer(endpoint()), ledger);
        Ok::<_, BoxError>(
            short_backoff(TokenCache::builder(source)).build().tokens(&credentials("shared")?),
        )
    };
    let stack = |tokens, has_store, tenants| {
        let layer = OAuth2Layer::new(tokens, Origins::only([api])?);
        Ok::<_, BoxError>(Stack {
            plain: layer.layer(client()),
            stream: ReplayableLayer::new().limit(LIMIT).layer(layer.layer(client())),
            has_store,
            tenants,
        })
    };
    Ok(vec![
        stack(plain, false, None)?,
        stack(warm, false, None)?,
        stack(own, false, Some(tenants))?,
        stack(shared()?, true, None)?,
        stack(shared()?, true, None)?,
    ])
}

/// Shortens the back-off, because tokens live for two seconds only.
fn short_backoff(
    builder: tower_oauth2::cache::TokenCacheBuilder,
) -> tower_oauth2::cache::TokenCacheBuilder {
    builder
        .transient_backoff(Backoff::new(Duration::from_millis(20), Duration::from_millis(500)))
        .permanent_backoff(Backoff::new(Duration::from_millis(50), Duration::from_millis(500)))
}

/// Creates an HTTP client that never retries. Only the layer under test resends requests.
fn client<B>() -> Client<B>
where
    B: http_body::Body<Data: Send> + Send,
{
    legacy::Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http()
}

/// Checks that a cache has one token request at a time for equal credentials (C2).
fn single_flight<S>(
    source: S,
    ledger: &Ledger,
) -> impl Service<TokenRequest, Response = AccessToken, Error = BoxError, Future: Send + 'static>
+ Clone
+ Send
+ 'static
where
    S: Service<TokenRequest, Response = AccessToken> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
{
    let (in_flight, ledger) = (Arc::new(AtomicUsize::new(0)), ledger.clone());
    service_fn(move |request: TokenRequest| {
        let fetch = source.clone().oneshot(request);
        let guard = InFlight(in_flight.clone());
        if guard.0.fetch_add(1, Ordering::Relaxed) > 0 {
            ledger.broken("a cache has two token requests in flight");
        }
        async move {
            let _guard = guard;
            fetch.await.map_err(Into::into)
        }
    })
}

struct InFlight(Arc<AtomicUsize>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
