use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{advance, sleep};
use tower::{Layer, ServiceExt};
use tower_oauth2::store::{MemoryStore, TokenStoreLayer};
use tower_oauth2::{ClientAuth, Credentials, TokenCache, TokenRequest, Tokens};

use super::double::{Double, Op, Plain};
use super::*;

// S1, alf 21
#[tokio::test(start_paused = true)]
async fn a_store_with_get_and_set_shares_tokens() {
    let store = Plain::default();
    let source = ScriptedSource::tokens(hour);
    let (one, other) = (process(store.clone(), &source), process(store.clone(), &source));
    assert_eq!(secret(&one).await, "token-1");
    assert_eq!(
        secret(&other).await,
        "token-1",
        "the store is read before the token endpoint is called"
    );
    let rejected = one.get().await.unwrap();
    rejected.reject();
    assert_eq!(secret(&one).await, "token-2");
    assert_eq!(secret(&process(store.clone(), &source)).await, "token-2");
    assert_eq!((source.count(), store.values().len()), (2, 1));
}

// S1
#[tokio::test(start_paused = true)]
async fn without_a_time_to_live_the_expiry_in_the_record_counts() {
    let store = Plain::default();
    let source = ScriptedSource::tokens(hour);
    secret(&process(store.clone(), &source)).await;
    let found = process(store, &source).get().await.unwrap();
    let left = found.time_left().unwrap();
    assert!(left <= secs(3600) && left > secs(3000), "{left:?}");
    assert_eq!((source.count(), found.lifetime()), (1, Some(secs(3600))));
}

// alf 22
#[tokio::test(start_paused = true)]
async fn without_a_store_each_cache_fetches_its_own_token() {
    let source = ScriptedSource::tokens(hour);
    let process = || Tokens::new(credentials(), source.clone());
    assert_eq!([secret(&process()).await, secret(&process()).await], ["token-1", "token-2"]);
}

// alf 22
#[tokio::test(start_paused = true)]
async fn caches_over_one_layer_share_tokens() {
    let layer = TokenStoreLayer::new(MemoryStore::new());
    let source = ScriptedSource::tokens(hour);
    let (one, other) = (over(layer.clone(), &source), over(layer, &source));
    assert_eq!([secret(&one).await, secret(&other).await], ["token-1", "token-1"]);
}

// S5, alf 23, 30, 31
#[tokio::test(start_paused = true)]
async fn a_fleet_makes_one_token_request_for_each_token() {
    let store = MemoryStore::new();
    let source = slow(ms(300), hour);
    let handles = fleet(32, &store, &source);
    assert_eq!(secrets(&handles).await, vec!["token-1"; 32]);
    assert_eq!(source.count(), 1);

    sleep(secs(3600)).await;
    assert_eq!(secrets(&handles).await, vec!["token-2"; 32]);
    assert_eq!(source.count(), 2);

    for tokens in &handles {
        let rejected = tokens.get().await.unwrap();
        rejected.reject();
    }
    assert_eq!(secrets(&handles).await, vec!["token-3"; 32]);
    assert_eq!(source.count(), 3);
}

// S5, alf 31
#[tokio::test(start_paused = true)]
async fn a_fleet_renews_a_token_with_one_token_request() {
    let store = MemoryStore::new();
    let source = slow(ms(300), hour);
    let handles: Vec<_> = (0..32)
        .map(|_| {
            let layer = TokenStoreLayer::new(store.clone());
            Tokens::new(credentials(), layer.layer(source.clone()))
        })
        .collect();
    assert_eq!(secrets(&handles).await, vec!["token-1"; 32]);
    // After the latest possible renewal time of all processes.
    advance(secs(3301)).await;
    assert_eq!(secrets(&handles).await, vec!["token-1"; 32], "no request waits");
    sleep(secs(2)).await;
    assert_eq!(secrets(&handles).await, vec!["token-2"; 32]);
    assert_eq!(source.count(), 2);
}

// S5: the stored token expires during the token request.
#[tokio::test(start_paused = true)]
async fn a_token_is_stored_after_the_previous_one_expired() {
    let store = MemoryStore::new();
    let source = slow(secs(3), hour);
    let handles = fleet(8, &store, &source);
    secrets(&handles).await;
    // One second before its expiry, the store still has the token, but no request uses it.
    sleep(secs(3599)).await;
    assert_eq!(secrets(&handles).await, vec!["token-2"; 8]);
    assert_eq!(source.count(), 2);
}

fn with(auth: ClientAuth) -> Credentials {
    Credentials::new("https://auth.test/token", auth).unwrap()
}

/// Returns the token of a process with these credentials.
async fn token_for(
    credentials: Credentials,
    store: &MemoryStore,
    source: &ScriptedSource,
) -> String {
    let layer = TokenStoreLayer::new(store.clone());
    let token = layer.layer(source.clone()).oneshot(TokenRequest::new(credentials)).await.unwrap();
    token.secret().to_owned()
}

// S2, alf 23, 24
#[tokio::test(start_paused = true)]
async fn different_credentials_do_not_share_tokens() {
    let basic = || with(ClientAuth::client_secret_basic("id", "secret"));
    let at = |endpoint: &str| {
        Credentials::new(endpoint, ClientAuth::client_secret_basic("id", "secret")).unwrap()
    };
    let all = [
        basic(),
        at("https://auth.test/token2"),
        at("https://auth.test/token?tenant=1"),
        at("https://auth.test:8443/token"),
        at("https://other.test/token"),
        with(ClientAuth::client_secret_basic("id2", "secret")),
        with(ClientAuth::client_secret_basic("id", "wrong")),
        with(ClientAuth::client_secret_basic("i", "dsecret")),
        with(ClientAuth::client_secret_basic_raw("id", "secret")),
        with(ClientAuth::client_secret_post("id", "secret")),
        with(ClientAuth::none("id")),
        basic().scope("a"),
        basic().scope("a b"),
        basic().scope("ab"),
        basic().audience("a"),
        basic().audience("b"),
        basic().resource("a"),
        basic().resource("a").resource("b"),
        basic().resource("ab"),
        basic().parameter("a", "b"),
        basic().parameter("a", "c"),
        basic().parameter("ab", ""),
        basic().parameter("b", "a"),
    ];
    let (store, source) = (MemoryStore::new(), ScriptedSource::tokens(hour));
    let mut tokens = BTreeSet::new();
    for credentials in &all {
        tokens.insert(token_for(credentials.clone(), &store, &source).await);
    }
    // An empty parameter is ignored.
    assert_eq!((tokens.len(), source.count()), (all.len() - 1, all.len() - 1));
}

// S2
#[tokio::test(start_paused = true)]
async fn equal_credentials_share_tokens() {
    let basic = || with(ClientAuth::client_secret_basic("id", "secret"));
    let (store, source) = (MemoryStore::new(), ScriptedSource::tokens(hour));
    for (n, (one, other)) in [
        (basic().scope("a b"), basic().scope("b  a b")),
        (basic().resource("a").resource("b"), basic().resource("b").resource("a")),
        (
            basic().parameter("a", "1").parameter("b", "2"),
            basic().parameter("b", "2").parameter("a", "0").parameter("a", "1"),
        ),
        (basic().audience("").parameter("c", ""), basic().default_expires_in(secs(60))),
    ]
    .into_iter()
    .enumerate()
    {
        let one = token_for(one, &store, &source).await;
        assert_eq!(one, token_for(other, &store, &source).await);
        assert_eq!(source.count(), n + 1);
    }
}

// S2
#[tokio::test(start_paused = true)]
async fn keys_are_64_hexadecimal_digits_without_secrets() {
    let store = Double::default();
    ask(&TokenStoreLayer::new(store.clone()), &ScriptedSource::tokens(hour)).await.unwrap();
    let log = store.log();
    assert!(log.iter().all(|entry| entry.key == log[0].key));
    assert_eq!(log[0].key.len(), 64);
    assert!(log[0].key.bytes().all(|digit| digit.is_ascii_hexdigit()));
    assert_eq!(ops(&store), [Op::Get, Op::Lock, Op::Get, Op::Replace, Op::Unlock]);
}

// S3, alf 28, 29
#[tokio::test(start_paused = true)]
async fn a_token_expires_when_the_store_says_so() {
    let (store, source) = (MemoryStore::new(), ScriptedSource::tokens(hour));
    let first = process(store.clone(), &source).get().await.unwrap();
    sleep(secs(1000)).await;
    let found = process(store.clone(), &source).get().await.unwrap();
    assert_eq!(found.time_left(), first.time_left());
    assert_eq!(found.lifetime(), first.lifetime());

    // The store removes the value when the token expires.
    let key = key_of(&credentials()).await;
    let left = store.get(&key).await.unwrap().unwrap().time_to_live();
    assert_eq!(left, Some(secs(2600)));
    sleep(secs(2600)).await;
    assert_eq!(store.get(&key).await.unwrap(), None);
}

// S3: as in the process that fetched the token.
#[tokio::test(start_paused = true)]
async fn a_found_token_is_renewed_by_its_lifetime() {
    let (store, source) = (MemoryStore::new(), ScriptedSource::tokens(hour));
    let process = || {
        let layer = TokenStoreLayer::new(store.clone());
        Tokens::new(credentials(), layer.layer(source.clone()))
    };
    secret(&process()).await;
    sleep(secs(2900)).await;
    let late = process();
    assert_eq!(secret(&late).await, "token-1");
    settle().await;
    assert_eq!(source.count(), 1, "not due before 2,940 s");
    sleep(secs(401)).await;
    assert_eq!(secret(&late).await, "token-1");
    sleep(Duration::from_millis(10)).await;
    assert_eq!((secret(&late).await.as_str(), source.count()), ("token-2", 2));
}

// S4: a cache with a larger margin does not look for the token with each request.
#[tokio::test(start_paused = true)]
async fn a_token_within_the_margin_of_its_cache_is_a_miss() {
    let store = MemoryStore::new();
    let source = ScriptedSource::tokens(hour);
    let tokens = TokenCache::builder(TokenStoreLayer::new(store.clone()).layer(source.clone()))
        .renew_ahead(Duration::ZERO)
        .expiry_margin(secs(60))
        .build()
        .tokens(&credentials());
    assert_eq!(secret(&tokens).await, "token-1");
    tokio::time::advance(secs(3550)).await;
    assert_eq!(secret(&tokens).await, "token-2");
    assert_eq!(secret(&process(store, &source)).await, "token-2");
    assert_eq!(source.count(), 2);
}
