use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{advance, sleep};
use tower::{Layer, ServiceExt};
use tower_oauth2::store::{MemoryStore, TokenStoreLayer};
use tower_oauth2::{ClientAuth, Credentials, Origins, TokenCache, TokenRequest};

use super::double::{Double, Op, Plain};
use super::*;

// S1, alf 21
#[tokio::test(start_paused = true)]
async fn a_get_and_a_set_are_all_that_a_store_needs() {
    let store = Plain::default();
    let source = Source::of(hour);
    let (one, other) = (process(store.clone(), &source), process(store.clone(), &source));
    assert_eq!(secret(&one).await, "token-1");
    assert_eq!(secret(&other).await, "token-1", "read before the endpoint is asked");
    let rejected = one.get().await.unwrap();
    one.reject(&rejected);
    assert_eq!(secret(&one).await, "token-2");
    assert_eq!(secret(&process(store.clone(), &source)).await, "token-2");
    assert_eq!((source.count(), store.values().len()), (2, 1));
}

// S1: the times of a process that has just fetched and of one that found it there are those of one token.
#[tokio::test(start_paused = true)]
async fn without_a_time_to_live_the_records_clock_tells_how_long_the_token_lives() {
    let store = Plain::default();
    let source = Source::of(hour);
    secret(&process(store.clone(), &source)).await;
    let found = process(store, &source).get().await.unwrap();
    let left = found.time_left().unwrap();
    assert!(left <= secs(3600) && left > secs(3000), "{left:?}");
    assert_eq!((source.count(), found.lifetime()), (1, Some(secs(3600))));
}

// alf 22
#[tokio::test(start_paused = true)]
async fn without_a_store_each_cache_has_its_own() {
    let source = Source::of(hour);
    let cache = || TokenCache::new(credentials(), source.clone());
    assert_eq!([secret(&cache()).await, secret(&cache()).await], ["token-1", "token-2"]);
}

// alf 22
#[tokio::test(start_paused = true)]
async fn one_layer_shares_within_the_process() {
    let layer = TokenStoreLayer::new(MemoryStore::new());
    let source = Source::of(hour);
    let (one, other) = (over(layer.clone(), &source), over(layer, &source));
    assert_eq!([secret(&one).await, secret(&other).await], ["token-1", "token-1"]);
}

// S5, alf 23, 30, 31
#[tokio::test(start_paused = true)]
async fn a_fleet_makes_one_token_request_when_cold_when_it_ends_and_when_it_is_revoked() {
    let store = MemoryStore::new();
    let source = slow(ms(300), hour);
    let caches = fleet(32, &store, &source);
    assert_eq!(secrets(&caches).await, vec!["token-1"; 32]);
    assert_eq!(source.count(), 1);

    sleep(secs(3600)).await;
    assert_eq!(secrets(&caches).await, vec!["token-2"; 32]);
    assert_eq!(source.count(), 2);

    for cache in &caches {
        let rejected = cache.get().await.unwrap();
        cache.reject(&rejected);
    }
    assert_eq!(secrets(&caches).await, vec!["token-3"; 32]);
    assert_eq!(source.count(), 3);
}

// S5, alf 31
#[tokio::test(start_paused = true)]
async fn a_fleet_renews_with_one_token_request_and_all_go_on_with_the_new_token() {
    let store = MemoryStore::new();
    let source = slow(ms(300), hour);
    let caches: Vec<_> = (0..32)
        .map(|_| {
            let layer = TokenStoreLayer::new(store.clone());
            TokenCache::new(credentials(), layer.layer(source.clone()))
        })
        .collect();
    assert_eq!(secrets(&caches).await, vec!["token-1"; 32]);
    // Past the last moment that one of them may have drawn.
    advance(secs(3301)).await;
    assert_eq!(secrets(&caches).await, vec!["token-1"; 32], "nobody waits");
    sleep(secs(2)).await;
    assert_eq!(secrets(&caches).await, vec!["token-2"; 32]);
    assert_eq!(source.count(), 2);
}

// S5: whatever was in the store is gone by the time the endpoint has answered.
#[tokio::test(start_paused = true)]
async fn a_token_is_stored_though_the_last_one_ended_in_the_store_meanwhile() {
    let store = MemoryStore::new();
    let source = slow(secs(3), hour);
    let caches = fleet(8, &store, &source);
    secrets(&caches).await;
    // A second before its end: it is of no use any more, and still there.
    sleep(secs(3599)).await;
    assert_eq!(secrets(&caches).await, vec!["token-2"; 8]);
    assert_eq!(source.count(), 2);
}

fn with(auth: ClientAuth) -> Credentials {
    Credentials::new("https://auth.test/token", auth).unwrap()
}

/// The token that a process with these credentials gets.
async fn token_for(credentials: Credentials, store: &MemoryStore, source: &Source) -> String {
    let layer = TokenStoreLayer::new(store.clone());
    let token = layer.layer(source.clone()).oneshot(TokenRequest::new(credentials)).await.unwrap();
    token.secret().to_owned()
}

// S2, alf 23, 24
#[tokio::test(start_paused = true)]
async fn different_credentials_never_share() {
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
    let (store, source) = (MemoryStore::new(), Source::of(hour));
    let mut tokens = BTreeSet::new();
    for credentials in &all {
        tokens.insert(token_for(credentials.clone(), &store, &source).await);
    }
    // A parameter that is empty is none.
    assert_eq!((tokens.len(), source.count()), (all.len() - 1, all.len() - 1));
}

// S2
#[tokio::test(start_paused = true)]
async fn credentials_that_are_equal_share() {
    let basic = || with(ClientAuth::client_secret_basic("id", "secret"));
    let (store, source) = (MemoryStore::new(), Source::of(hour));
    for (n, (one, other)) in [
        (basic().scope("a b"), basic().scope("b  a b")),
        (basic().resource("a").resource("b"), basic().resource("b").resource("a")),
        (
            basic().parameter("a", "1").parameter("b", "2"),
            basic().parameter("b", "2").parameter("a", "0").parameter("a", "1"),
        ),
        (basic().audience("").parameter("c", ""), basic().default_expires_in(secs(60))),
        (
            basic().audience("x"),
            basic().audience("x").origins(Origins::only(["https://api.test"]).unwrap()),
        ),
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
async fn keys_are_64_hexadecimal_digits_and_tell_nothing() {
    let store = Double::default();
    ask(&TokenStoreLayer::new(store.clone()), &Source::of(hour)).await.unwrap();
    let log = store.log();
    assert!(log.iter().all(|entry| entry.key == log[0].key));
    assert_eq!(log[0].key.len(), 64);
    assert!(log[0].key.bytes().all(|digit| digit.is_ascii_hexdigit()));
    assert_eq!(ops(&store), [Op::Get, Op::Lock, Op::Get, Op::Replace, Op::Unlock]);
}

// S3, alf 28, 29
#[tokio::test(start_paused = true)]
async fn a_token_lives_for_as_long_as_the_store_says() {
    let (store, source) = (MemoryStore::new(), Source::of(hour));
    let first = process(store.clone(), &source).get().await.unwrap();
    sleep(secs(1000)).await;
    let found = process(store.clone(), &source).get().await.unwrap();
    assert_eq!(found.time_left(), first.time_left());
    assert_eq!(found.lifetime(), first.lifetime());

    // The entry goes with the token.
    let key = key_of(&credentials()).await;
    let left = store.get(&key).await.unwrap().unwrap().time_to_live();
    assert_eq!(left, Some(secs(2600)));
    sleep(secs(2600)).await;
    assert_eq!(store.get(&key).await.unwrap(), None);
}

// S3: a token that was found is renewed when the one who fetched it would have.
#[tokio::test(start_paused = true)]
async fn a_token_that_was_found_is_renewed_by_its_own_schedule() {
    let (store, source) = (MemoryStore::new(), Source::of(hour));
    let cache = || {
        let layer = TokenStoreLayer::new(store.clone());
        TokenCache::new(credentials(), layer.layer(source.clone()))
    };
    secret(&cache()).await;
    sleep(secs(2900)).await;
    let late = cache();
    assert_eq!(secret(&late).await, "token-1");
    settle().await;
    assert_eq!(source.count(), 1, "not due before 2,940 s");
    sleep(secs(401)).await;
    assert_eq!(secret(&late).await, "token-1");
    sleep(Duration::from_millis(10)).await;
    assert_eq!((secret(&late).await.as_str(), source.count()), ("token-2", 2));
}

// S4: a cache with a margin of its own does not get what it holds to be over, nor look for it with each request.
#[tokio::test(start_paused = true)]
async fn a_token_that_is_over_for_its_cache_is_not_the_answer() {
    let store = MemoryStore::new();
    let source = Source::of(hour);
    let cache = TokenCache::builder(
        credentials(),
        TokenStoreLayer::new(store.clone()).layer(source.clone()),
    )
    .renew_ahead(Duration::ZERO)
    .expiry_margin(secs(60))
    .build();
    assert_eq!(secret(&cache).await, "token-1");
    tokio::time::advance(secs(3550)).await;
    assert_eq!(secret(&cache).await, "token-2");
    assert_eq!(secret(&process(store, &source)).await, "token-2");
    assert_eq!(source.count(), 2);
}
