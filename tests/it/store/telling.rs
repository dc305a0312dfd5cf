use tokio::time::{advance, sleep};
use tower::Layer;
use tower_oauth2::source::Backoff;
use tower_oauth2::store::{MemoryStore, StoredValue, TokenStore, TokenStoreLayer};

use super::double::{Act, Double, Op};
use super::*;

/// Events with this text.
fn told(trace: &Trace, text: &str) -> usize {
    trace.lines().iter().filter(|line| line.contains(text)).count()
}

// O, S6
#[tokio::test(start_paused = true)]
async fn trouble_is_told_once_and_so_is_its_end() {
    let (trace, _guard) = Trace::start();
    let store = Double::but(Op::Get, Act::Fail);
    let layer = TokenStoreLayer::new(store.clone()).backoff(Backoff::new(secs(10), secs(10)));
    let source = Source::of(hour);
    for _ in 0..5 {
        ask(&layer, &source).await.unwrap();
    }
    assert_eq!(told(&trace, "the token store failed"), 1);
    let line = trace.lines().into_iter().find(|line| line.contains("the token store failed"));
    let line = line.unwrap();
    assert!(line.starts_with("WARN "), "{line}");
    for part in ["operation=\"get\"", "error=the store is broken", "window=10s"] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(told(&trace, "the token store is left alone"), 4);

    store.becomes(|_| Act::Work);
    advance(secs(10)).await;
    for _ in 0..5 {
        ask(&layer, &source).await.unwrap();
    }
    assert_eq!(told(&trace, "the token store works again"), 1);
    assert_eq!(told(&trace, "a token was found in the store"), 4);
}

// O, S6: what can be read and not written to does not work.
#[tokio::test(start_paused = true)]
async fn half_a_store_is_not_said_to_work() {
    let (trace, _guard) = Trace::start();
    let store = Double::but(Op::Lock, Act::Fail);
    let layer = TokenStoreLayer::new(store.clone());
    let source = Source::of(hour);
    for _ in 0..10 {
        ask(&layer, &source).await.unwrap();
        sleep(secs(30)).await;
    }
    assert_eq!(told(&trace, "the token store failed"), 10, "each of them has tried it");
    assert_eq!(told(&trace, "the token store works again"), 0);
    store.becomes(|_| Act::Work);
    ask(&layer, &source).await.unwrap();
    assert_eq!(told(&trace, "the token store works again"), 1);
}

// O, S6: told by the one who replaces it, however many look at it and however often.
#[tokio::test(start_paused = true)]
async fn rubbish_is_told_once() {
    let (trace, _guard) = Trace::start();
    let store = MemoryStore::new();
    let key = key_of(&credentials()).await;
    store.set(&key, b"rubbish", secs(60)).await.unwrap();
    let source = slow(secs(5), hour);
    secrets(&fleet(8, &store, &source)).await;
    assert_eq!((told(&trace, "is no token record"), source.count()), (1, 1));
}

// O, X3, S6
#[tokio::test(start_paused = true)]
async fn no_token_and_no_secret_is_ever_told() {
    const HIDDEN: &[&str] = &["token-", SECRET, "client-id", "Bearer", "3xtr4", "access_token"];
    let (trace, _guard) = Trace::start();
    let make = |n| hour(n).with_scope("3xtr4").with_extra("id_token", "3xtr4");
    for act in [Act::Work, Act::Fail, Act::Hang, Act::Pretend] {
        for op in Op::ALL {
            let store = Double::but(op, act);
            let source = slow(secs(5), make);
            let caches = fleet(3, &store, &source);
            secrets(&caches).await;
            for cache in &caches {
                let rejected = cache.get().await.unwrap();
                cache.reject(&rejected);
                cache.get().await.unwrap();
            }
            let rubbish = br#"{"v":2,"access_token":"token-s3cr3t"}"#;
            store.inner.set(&key_of(&credentials()).await, rubbish, secs(86_400)).await.unwrap();
            sleep(secs(3600)).await;
            secrets(&caches).await;
            store.becomes(|_| Act::Work);
            sleep(secs(3600)).await;
            secrets(&caches).await;
        }
    }
    let lines = trace.lines();
    for line in &lines {
        for hidden in HIDDEN {
            // `token-` is no part of any message.
            assert!(!line.contains(hidden), "{line}");
        }
    }
    for text in [
        "the token store failed",
        "the token store works again",
        "the token store is left alone",
        "a token was found in the store",
        "is no token record",
    ] {
        assert!(lines.iter().any(|line| line.contains(text)), "never told: {text}");
    }
}

// X3
#[tokio::test(start_paused = true)]
async fn debug_tells_settings_and_no_values() {
    let store = MemoryStore::new();
    let layer = TokenStoreLayer::new(store.clone()).deadline(ms(100)).lease(secs(5));
    ask(&layer, &Source::of(hour)).await.unwrap();
    assert_eq!(format!("{store:?}"), "MemoryStore { entries: 1 }");
    assert_eq!(
        format!("{layer:?}"),
        "TokenStoreLayer { deadline: 100ms, backoff: Backoff { min: 1s, max: 30s }, lease: 5s, .. }"
    );
    assert_eq!(format!("{:?}", layer.layer(7)), "StoredTokens { inner: 7, .. }");
    let stored = StoredValue::new(b"token-1".to_vec()).with_time_to_live(secs(3));
    assert_eq!(
        format!("{stored:?}"),
        "StoredValue { value: \"**redacted**\", time_to_live: Some(3s) }"
    );
}
