//! Tracing events and `Debug` texts.

use tokio::time::{advance, sleep};
use tower::Layer;
use tower_oauth2::source::Backoff;
use tower_oauth2::store::{MemoryStore, StoredValue, TokenStore, TokenStoreLayer};

use super::double::{Act, Double, Op};
use super::*;

/// Returns the number of events with this text.
fn count(trace: &Trace, text: &str) -> usize {
    trace.lines().iter().filter(|line| line.contains(text)).count()
}

// O, S6
#[tokio::test(start_paused = true)]
async fn a_failure_and_its_recovery_are_each_reported_once() {
    let (trace, _guard) = Trace::start();
    let store = Double::but(Op::Get, Act::Fail);
    let layer = TokenStoreLayer::new(store.clone()).backoff(Backoff::new(secs(10), secs(10)));
    let source = ScriptedSource::tokens(hour);
    for _ in 0..5 {
        ask(&layer, &source).await.unwrap();
    }
    assert_eq!(count(&trace, "the token store failed"), 1);
    let line = trace.lines().into_iter().find(|line| line.contains("the token store failed"));
    let line = line.unwrap();
    assert!(line.starts_with("WARN "), "{line}");
    for part in ["operation=\"get\"", "error=the store is broken", "window=10s"] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(count(&trace, "the token store is not used during its back-off"), 4);

    store.becomes(|_| Act::Work);
    advance(secs(10)).await;
    for _ in 0..5 {
        ask(&layer, &source).await.unwrap();
    }
    assert_eq!(count(&trace, "the token store works again"), 1);
    assert_eq!(count(&trace, "found a token in the store"), 4);
}

// O, S6: a read-only store does not work.
#[tokio::test(start_paused = true)]
async fn a_partly_failing_store_is_not_reported_as_working() {
    let (trace, _guard) = Trace::start();
    let store = Double::but(Op::Lock, Act::Fail);
    let layer = TokenStoreLayer::new(store.clone());
    let source = ScriptedSource::tokens(hour);
    for _ in 0..10 {
        ask(&layer, &source).await.unwrap();
        sleep(secs(30)).await;
    }
    assert_eq!(count(&trace, "the token store failed"), 10, "each request has tried the store");
    assert_eq!(count(&trace, "the token store works again"), 0);
    store.becomes(|_| Act::Work);
    ask(&layer, &source).await.unwrap();
    assert_eq!(count(&trace, "the token store works again"), 1);
}

// O, S6: only the process that replaces the value reports it.
#[tokio::test(start_paused = true)]
async fn a_malformed_value_is_reported_once() {
    let (trace, _guard) = Trace::start();
    let store = MemoryStore::new();
    let key = key_of(&credentials()).await;
    store.set(&key, b"malformed", secs(60)).await.unwrap();
    let source = slow(secs(5), hour);
    secrets(&fleet(8, &store, &source)).await;
    assert_eq!((count(&trace, "is not a token record"), source.count()), (1, 1));
}

// O, X3, S6
#[tokio::test(start_paused = true)]
async fn events_contain_no_tokens_and_no_secrets() {
    const HIDDEN: &[&str] = &["token-", SECRET, "client-id", "Bearer", "3xtr4", "access_token"];
    let (trace, _guard) = Trace::start();
    let make = |n| hour(n).with_scope("3xtr4").with_extra("id_token", "3xtr4");
    for act in [Act::Work, Act::Fail, Act::Hang, Act::Pretend] {
        for op in Op::ALL {
            let store = Double::but(op, act);
            let source = slow(secs(5), make);
            let handles = fleet(3, &store, &source);
            secrets(&handles).await;
            for tokens in &handles {
                let rejected = tokens.get().await.unwrap();
                rejected.reject();
                tokens.get().await.unwrap();
            }
            let malformed = br#"{"v":2,"access_token":"token-s3cr3t"}"#;
            store.inner.set(&key_of(&credentials()).await, malformed, secs(86_400)).await.unwrap();
            sleep(secs(3600)).await;
            secrets(&handles).await;
            store.becomes(|_| Act::Work);
            sleep(secs(3600)).await;
            secrets(&handles).await;
        }
    }
    let lines = trace.lines();
    for line in &lines {
        for hidden in HIDDEN {
            // No message contains `token-`.
            assert!(!line.contains(hidden), "{line}");
        }
    }
    for text in [
        "the token store failed",
        "the token store works again",
        "the token store is not used during its back-off",
        "found a token in the store",
        "is not a token record",
    ] {
        assert!(lines.iter().any(|line| line.contains(text)), "not reported: {text}");
    }
}

// X3
#[tokio::test(start_paused = true)]
async fn debug_shows_settings_and_no_values() {
    let store = MemoryStore::new();
    let layer = TokenStoreLayer::new(store.clone()).deadline(ms(100)).lease(secs(5));
    ask(&layer, &ScriptedSource::tokens(hour)).await.unwrap();
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
