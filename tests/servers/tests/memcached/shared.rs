use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tower::{BoxError, ServiceBuilder, service_fn};
use tower_oauth2::source::Backoff;
use tower_oauth2::store::{TokenStore, TokenStoreLayer};
use tower_oauth2::{AccessToken, ClientAuth, Credentials, TokenCache, TokenRequest, Tokens};
use tower_oauth2_testkit::credentials;
use tower_oauth2_testkit::servers::Memcached;

use super::{KEY, MINUTE, until};

/// Returns the tokens of a process with its own cache. `count` counts the token requests of all
/// processes.
fn process(store: impl TokenStore, count: &Arc<AtomicUsize>) -> Tokens {
    process_with(store, count, Duration::from_secs(3600))
}

/// Returns the tokens of a process, which live for `lifetime`.
fn process_with(store: impl TokenStore, count: &Arc<AtomicUsize>, lifetime: Duration) -> Tokens {
    over(&layer_over(store), count, move |token| token.with_expires_in(lifetime))
}

fn layer_over(store: impl TokenStore) -> TokenStoreLayer {
    // The test machine may be slow.
    let backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(50));
    TokenStoreLayer::new(store).deadline(Duration::from_secs(5)).backoff(backoff)
}

/// Returns tokens in a cache over a layer.
fn over(
    layer: &TokenStoreLayer,
    count: &Arc<AtomicUsize>,
    make: impl Fn(AccessToken) -> AccessToken + Clone + Send + 'static,
) -> Tokens {
    cache_over(layer, count, make).tokens(&credentials())
}

/// Returns a cache over a layer. Its tokens are `token-1`, `token-2`, … as `make` changes them.
fn cache_over(
    layer: &TokenStoreLayer,
    count: &Arc<AtomicUsize>,
    make: impl Fn(AccessToken) -> AccessToken + Clone + Send + 'static,
) -> TokenCache {
    let count = count.clone();
    let source = service_fn(move |_: TokenRequest| {
        let n = count.fetch_add(1, Ordering::SeqCst) + 1;
        let make = make.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok::<_, BoxError>(make(AccessToken::new(format!("token-{n}"))?))
        }
    });
    TokenCache::new(ServiceBuilder::new().layer(layer.clone()).service(source))
}

#[tokio::test]
async fn processes_share_one_token_request() {
    let server = Memcached::start().await;
    let count = Arc::default();
    let (one, other) = (process(server.store(), &count), process(server.store(), &count));
    let (first, second) = tokio::join!(one.get(), other.get());
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.secret(), second.secret()), ("token-1", "token-1"));
    assert_eq!(second.lifetime(), Some(Duration::from_secs(3600)));

    // A process that starts later finds the token too.
    let late = process(server.store(), &count).get().await.unwrap();
    assert_eq!(late.secret(), "token-1");
    // The process that fetched the token knows its expiry exactly.
    assert!(late.time_left() <= first.time_left().max(second.time_left()));
    assert_eq!(count.load(Ordering::SeqCst), 1);

    // A rejected token is replaced for all processes.
    first.reject();
    assert_eq!(one.get().await.unwrap().secret(), "token-2");
    second.reject();
    assert_eq!(other.get().await.unwrap().secret(), "token-2");
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_token_that_outlives_the_store_limit_is_shared() {
    let server = Memcached::start().await;
    let count = Arc::default();
    let process = || process_with(server.store(), &count, Duration::from_secs(60 * 24 * 60 * 60));
    let (one, other) = (process(), process());
    let (first, second) = (one.get().await.unwrap(), other.get().await.unwrap());
    assert_eq!((first.secret(), second.secret()), ("token-1", "token-1"));
    second.reject();
    assert_eq!(other.get().await.unwrap().secret(), "token-2");
    first.reject();
    assert_eq!(one.get().await.unwrap().secret(), "token-2");
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_stopped_server_fails_no_request() {
    let server = Memcached::start().await;
    let store = server.store();
    store.set(KEY, b"value", MINUTE).await.unwrap();
    server.pause();
    let count = Arc::default();
    let auth = ClientAuth::none("client-id");
    let credentials = Credentials::new("https://auth.example.com/token", auth).unwrap();
    let requests: Arc<AtomicUsize> = Arc::clone(&count);
    let source = service_fn(move |_: TokenRequest| {
        requests.fetch_add(1, Ordering::SeqCst);
        async { AccessToken::new("token") }
    });
    let layer = TokenStoreLayer::new(store.clone()).deadline(Duration::from_millis(100));
    let tokens = Tokens::new(credentials, ServiceBuilder::new().layer(layer).service(source));
    let token =
        tokio::time::timeout(MINUTE, tokens.get()).await.expect("the request completes").unwrap();
    assert_eq!((token.secret(), count.load(Ordering::SeqCst)), ("token", 1));

    // No operation reads the late answers.
    server.resume();
    let stored = store.get(KEY).await.unwrap().unwrap();
    assert_eq!(stored.value(), b"value");
}

#[tokio::test]
async fn tokens_are_shared_again_after_a_restart() {
    let mut server = Memcached::start().await;
    let count = Arc::default();
    let (one, other) = (process(server.store(), &count), process(server.store(), &count));
    server.stop();
    assert_eq!(one.get().await.unwrap().secret(), "token-1");
    assert_eq!(other.get().await.unwrap().secret(), "token-2");

    server.start_again().await;
    until(async || {
        let token = one.get().await.unwrap();
        token.reject();
        let token = one.get().await.unwrap();
        let before = count.load(Ordering::SeqCst);
        let third = process(server.store(), &count).get().await.unwrap();
        third.secret() == token.secret() && count.load(Ordering::SeqCst) == before
    })
    .await;
}

// S6
#[tokio::test]
async fn an_oversized_token_is_not_a_failure_of_the_store() {
    let server = Memcached::start().await;
    let (large_count, small_count) = (Arc::default(), Arc::default());
    let large = |layer| over(layer, &large_count, |token| token.with_scope("x".repeat(1 << 20)));
    let layer = layer_over(server.store());
    let (one, other) = (large(&layer), large(&layer_over(server.store())));
    let (first, second) = tokio::join!(one.get(), other.get());
    assert_ne!(first.unwrap().secret(), second.unwrap().secret(), "the token is not shared");

    // The layer continues to share other tokens.
    let small = credentials().audience("https://api.example.com");
    let token = cache_over(&layer, &small_count, |token| token).tokens(&small).get().await.unwrap();
    let late = cache_over(&layer_over(server.store()), &small_count, |token| token);
    assert_eq!(late.tokens(&small).get().await.unwrap().secret(), token.secret());
    assert_eq!(small_count.load(Ordering::SeqCst), 1);
}
