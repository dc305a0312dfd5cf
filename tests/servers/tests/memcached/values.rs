use std::time::Duration;

use futures_util::future::join_all;
use futures_util::poll;
use tower_oauth2::store::{TokenStore, ValueNotAccepted};
use tower_oauth2_testkit::servers::Memcached;

use super::{KEY, MINUTE, OTHER, until};

#[tokio::test]
async fn get_returns_the_value_and_its_remaining_lifetime() {
    let server = Memcached::start().await;
    let (one, other) = (server.store(), server.store());
    assert_eq!(one.get(KEY).await.unwrap(), None);
    one.set(KEY, b"value", MINUTE).await.unwrap();
    let stored = other.get(KEY).await.unwrap().unwrap();
    assert_eq!(stored.value(), b"value");
    let left = stored.time_to_live().unwrap();
    assert!(left < MINUTE && left >= Duration::from_secs(30), "{left:?}");
    assert_eq!(other.get(OTHER).await.unwrap(), None);
}

#[tokio::test]
async fn set_replaces_the_value_and_its_time_to_live() {
    let server = Memcached::start().await;
    let store = server.store();
    store.set(KEY, b"first", Duration::from_secs(3600)).await.unwrap();
    store.set(KEY, b"second", MINUTE).await.unwrap();
    let stored = store.get(KEY).await.unwrap().unwrap();
    assert_eq!(stored.value(), b"second");
    assert!(stored.time_to_live().unwrap() < MINUTE);
}

#[tokio::test]
async fn values_may_be_arbitrary_and_large() {
    let server = Memcached::start().await;
    let store = server.store();
    let all: Vec<u8> = (0..=255).cycle().take(512 * 1024).collect();
    for value in [&b""[..], b"\r\n", b"EN\r\nVA 3 t1 c1 O1\r\n", b"\0 \n\xff", &all] {
        store.set(KEY, value, MINUTE).await.unwrap();
        let stored = store.get(KEY).await.unwrap().unwrap();
        assert!(stored.value() == value, "{} bytes", value.len());
    }
}

#[tokio::test]
async fn an_oversized_value_is_an_error_that_does_not_quote_it() {
    let server = Memcached::start().await;
    let store = server.store();
    let error = store.set(KEY, &[b'x'; 1024 * 1024], MINUTE).await.unwrap_err();
    assert!(error.is::<ValueNotAccepted>());
    let cause = error.source().unwrap();
    assert_eq!(cause.to_string(), "the value is too large for memcached");
    assert!(!format!("{error:?}").contains("xxx"));
    store.set(KEY, b"small", MINUTE).await.unwrap();
    assert_eq!(store.get(KEY).await.unwrap().unwrap().value(), b"small");
}

#[tokio::test]
async fn values_expire() {
    let server = Memcached::start().await;
    let store = server.store();
    // A time to live below one second replaces the value, and is not taken for a value without an
    // expiry.
    for life in [Duration::from_secs(2), Duration::from_millis(1), Duration::ZERO] {
        store.set(KEY, b"last", MINUTE).await.unwrap();
        store.set(KEY, b"value", life).await.unwrap();
        if let Some(stored) = store.get(KEY).await.unwrap() {
            assert_eq!(stored.value(), b"value");
            assert!(stored.time_to_live().unwrap() <= life);
        }
        until(async || store.get(KEY).await.unwrap().is_none()).await;
    }
}

#[tokio::test]
async fn a_long_time_to_live_is_not_taken_for_a_date() {
    let server = Memcached::start().await;
    let store = server.store();
    store.set(KEY, b"value", Duration::MAX).await.unwrap();
    let left = store.get(KEY).await.unwrap().unwrap().time_to_live().unwrap();
    let days = left.as_secs_f64() / (24.0 * 60.0 * 60.0);
    assert!((29.9..30.0).contains(&days), "{days}");
    assert!(store.lock(KEY, "owner", Duration::MAX).await.unwrap());
    assert!(!store.lock(KEY, "other", Duration::MAX).await.unwrap());
}

#[tokio::test]
async fn a_value_without_an_expiry_has_no_time_to_live() {
    let server = Memcached::start().await;
    server.say(&format!("ms tower-oauth2:{KEY} 5 T0\r\nvalue")).await;
    let stored = server.store().get(KEY).await.unwrap().unwrap();
    assert_eq!((stored.value(), stored.time_to_live()), (&b"value"[..], None));
}

#[tokio::test]
async fn only_the_expected_value_is_replaced() {
    let server = Memcached::start().await;
    let store = server.store();
    assert!(!store.replace(KEY, Some(b"value"), b"new", MINUTE).await.unwrap());
    assert_eq!(store.get(KEY).await.unwrap(), None);

    assert!(store.replace(KEY, None, b"first", MINUTE).await.unwrap());
    assert!(!store.replace(KEY, None, b"new", MINUTE).await.unwrap());
    assert!(!store.replace(KEY, Some(b"firs"), b"new", MINUTE).await.unwrap());
    assert!(!store.replace(KEY, Some(b""), b"new", MINUTE).await.unwrap());
    assert_eq!(store.get(KEY).await.unwrap().unwrap().value(), b"first");

    assert!(store.replace(KEY, Some(b"first"), b"second", 2 * MINUTE).await.unwrap());
    let stored = store.get(KEY).await.unwrap().unwrap();
    assert_eq!(stored.value(), b"second");
    assert!(stored.time_to_live().unwrap() > MINUTE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_concurrent_replacements_succeeds() {
    let server = Memcached::start().await;
    let stores = [server.store(), server.store(), server.store(), server.store()];
    for expected in [None, Some(&b"first"[..])] {
        if let Some(first) = expected {
            stores[0].set(KEY, first, MINUTE).await.unwrap();
        }
        let all = (0..64).map(|n| {
            let store = stores[n % 4].clone();
            tokio::spawn(async move {
                let value = format!("value {n}");
                store.replace(KEY, expected, value.as_bytes(), MINUTE).await.unwrap()
            })
        });
        let done = join_all(all).await.into_iter().map(Result::unwrap);
        let winners: Vec<_> = done.enumerate().filter(|(_, done)| *done).collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        let stored = stores[0].get(KEY).await.unwrap().unwrap();
        assert_eq!(stored.value(), format!("value {}", winners[0].0).as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_operations_share_few_connections() {
    let server = Memcached::start().await;
    let store = server.store();
    store.set(KEY, b"value", MINUTE).await.unwrap();
    let all = (0..500).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.get(KEY).await.unwrap().unwrap() })
    });
    for stored in join_all(all).await {
        assert_eq!(stored.unwrap().value(), b"value");
    }
    let count = |answer: &str, name| -> usize {
        let rest = answer.split_once(&format!("STAT {name} ")).unwrap().1;
        rest.split_once("\r\n").unwrap().0.parse().unwrap()
    };
    let answer = server.say("stats").await;
    // The server keeps the structure of a closed connection for the next one, so this is the
    // maximum number of open connections. The test itself opens a few.
    assert!(count(&answer, "connection_structures") <= 32 + 8, "{answer}");
    until(async || count(&server.say("stats").await, "curr_connections") <= 4 + 3).await;
}

#[tokio::test]
async fn an_operation_may_be_dropped_at_any_time() {
    let server = Memcached::start().await;
    let store = server.store();
    let value = vec![b'x'; 256 * 1024];
    store.set(KEY, &value, MINUTE).await.unwrap();
    store.set(OTHER, b"other", MINUTE).await.unwrap();
    for polls in 0..60 {
        let mut dropped = Box::pin(store.get(KEY));
        for _ in 0..polls {
            if poll!(&mut dropped).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(dropped);
        let mut dropped = Box::pin(store.set(KEY, &value, MINUTE));
        for _ in 0..polls {
            if poll!(&mut dropped).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(dropped);
        assert_eq!(store.get(OTHER).await.unwrap().unwrap().value(), b"other", "{polls}");
    }
}

#[tokio::test]
async fn a_restarted_server_is_used_at_once() {
    let mut server = Memcached::start().await;
    let store = server.store();
    store.set(KEY, b"value", MINUTE).await.unwrap();
    server.stop();
    let error = store.get(KEY).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot connect to memcached");
    server.start_again().await;
    assert_eq!(store.get(KEY).await.unwrap(), None);
    store.set(KEY, b"value", MINUTE).await.unwrap();

    // The idle connection leads to the stopped server.
    server.stop();
    server.start_again().await;
    assert!(store.replace(KEY, None, b"new", MINUTE).await.unwrap());
    assert_eq!(store.get(KEY).await.unwrap().unwrap().value(), b"new");
}

#[test]
fn a_store_works_on_a_second_runtime() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let server = first.block_on(Memcached::start());
    let store = server.store();
    first.block_on(store.set(KEY, b"value", MINUTE)).unwrap();
    drop(first);
    let stored = runtime().block_on(store.get(KEY)).unwrap().unwrap();
    assert_eq!(stored.value(), b"value");
}
