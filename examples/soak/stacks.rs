//! The clients under test, each a stack of its own.

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

use crate::authority::{CLIENT_ID, CLIENT_SECRET};
use crate::body::Stream;
use crate::ledger::Ledger;
use crate::store::FlappingStore;

/// How much of a stream is kept to be sent again.
pub(crate) const LIMIT: usize = 16 * 1024;

/// How many credentials the stack with tenants has, and of how many it keeps the tokens.
const TENANTS: usize = 12;
const SLOTS: usize = 4;

type Client<B> = legacy::Client<HttpConnector, B>;

#[derive(Clone)]
pub(crate) struct Stack {
    pub(crate) plain: OAuth2<Client<Full<Bytes>>>,
    pub(crate) stream: Replayable<OAuth2<Client<ReplayBody<Stream>>>>,
    pub(crate) has_store: bool,
    /// Each request names the tokens of one of them.
    pub(crate) tenants: Option<Tenants>,
}

/// More tenants than the cache has slots for.
#[derive(Clone)]
pub(crate) struct Tenants {
    pub(crate) cache: TokenCache,
    pub(crate) credentials: Vec<Credentials>,
}

pub(crate) fn all(
    token_endpoint: &str,
    api: &str,
    store: &FlappingStore,
    ledger: &Ledger,
) -> Result<Vec<Stack>, BoxError> {
    let credentials = |audience: &str| {
        let auth = ClientAuth::client_secret_basic(CLIENT_ID, CLIENT_SECRET);
        Credentials::new(token_endpoint, auth).map(|made| made.audience(audience))
    };
    // One of them is on its way at a time, however many callers there are.
    let endpoint = || TokenEndpoint::new(client()).timeout(Duration::from_millis(700));
    let alone = counted(endpoint(), ledger);
    let tenants = (0..TENANTS).map(|n| credentials(&n.to_string())).collect::<Result<_, _>>()?;

    let plain = patient(TokenCache::builder(alone)).build().tokens(&credentials("plain")?);
    let warm = counted(endpoint(), ledger);
    let warm = patient(TokenCache::builder(warm)).build().tokens(&credentials("warm")?);
    warm.keep_warm()?;
    let many = patient(TokenCache::builder(endpoint())).capacity(SLOTS).build();
    let own = many.tokens(&credentials("many")?);
    let tenants = Tenants { cache: many, credentials: tenants };
    // Two of one fleet.
    let shared = || {
        let layer = TokenStoreLayer::new(store.clone())
            .lease(Duration::from_secs(1))
            .backoff(Backoff::new(Duration::from_millis(50), Duration::from_millis(500)));
        let source = counted(layer.layer(endpoint()), ledger);
        Ok::<_, BoxError>(
            patient(TokenCache::builder(source)).build().tokens(&credentials("shared")?),
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

/// With back-off for tokens that live for two seconds.
fn patient(
    builder: tower_oauth2::cache::TokenCacheBuilder,
) -> tower_oauth2::cache::TokenCacheBuilder {
    builder
        .transient_backoff(Backoff::new(Duration::from_millis(20), Duration::from_millis(500)))
        .permanent_backoff(Backoff::new(Duration::from_millis(50), Duration::from_millis(500)))
}

/// Nobody but the layer under test sends anything again.
fn client<B>() -> Client<B>
where
    B: http_body::Body<Data: Send> + Send,
{
    legacy::Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http()
}

/// C2: of a cache's token requests for one credentials, one is on its way at a time.
fn counted<S>(
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
    let (on_their_way, ledger) = (Arc::new(AtomicUsize::new(0)), ledger.clone());
    service_fn(move |request: TokenRequest| {
        let ask = source.clone().oneshot(request);
        let way = OnItsWay(on_their_way.clone());
        if way.0.fetch_add(1, Ordering::Relaxed) > 0 {
            ledger.broken("two token requests of one cache are on their way");
        }
        async move {
            let _way = way;
            ask.await.map_err(Into::into)
        }
    })
}

struct OnItsWay(Arc<AtomicUsize>);

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
