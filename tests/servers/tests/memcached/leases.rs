use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use tower_oauth2::store::TokenStore;
use tower_oauth2_testkit::servers::Memcached;

use super::{KEY, MINUTE, OTHER, until};

#[tokio::test]
async fn only_the_owner_can_acquire_a_held_lease() {
    let server = Memcached::start().await;
    let (one, other) = (server.store(), server.store());
    assert!(one.lock(KEY, "one", MINUTE).await.unwrap());
    assert!(!other.lock(KEY, "other", MINUTE).await.unwrap());
    assert!(one.lock(KEY, "one", MINUTE).await.unwrap());
    assert!(other.lock(OTHER, "other", MINUTE).await.unwrap(), "each key has its own lease");
    assert_eq!(one.get(KEY).await.unwrap(), None, "a lease is not a value");

    other.unlock(KEY, "other").await.unwrap();
    assert!(
        !other.lock(KEY, "other", MINUTE).await.unwrap(),
        "only the owner can release the lease"
    );
    one.unlock(KEY, "one").await.unwrap();
    assert!(other.lock(KEY, "other", MINUTE).await.unwrap());
    one.unlock(OTHER, "one").await.unwrap();
    one.unlock("no-such-key", "one").await.unwrap();
}

#[tokio::test]
async fn acquiring_a_held_lease_extends_it() {
    let server = Memcached::start().await;
    let store = server.store();
    let left = async || -> u64 {
        let answer = server.say(&format!("mg tower-oauth2:lease:{KEY} t")).await;
        answer.trim_end().strip_prefix("HD t").unwrap().parse().unwrap()
    };
    assert!(store.lock(KEY, "one", Duration::from_secs(10)).await.unwrap());
    assert!(left().await <= 11);
    assert!(store.lock(KEY, "one", MINUTE).await.unwrap());
    assert!(left().await > 30);
}

#[tokio::test]
async fn a_lease_lasts_for_its_duration_and_then_ends() {
    let server = Memcached::start().await;
    let store = server.store();
    // At different times within the current second of the server.
    let all = (0..8).map(async |n| {
        sleep(Duration::from_millis(125 * n)).await;
        // The server's clock may be late by half a second, because the machine is busy.
        let lease = Duration::from_millis(500 + 1000 * (n % 2));
        let (key, end) = (format!("key-{n}"), Instant::now() + lease);
        assert!(store.lock(&key, "one", lease).await.unwrap());
        until(async || {
            let is_free = store.lock(&key, "other", MINUTE).await.unwrap();
            assert!(!is_free || Instant::now() >= end, "{n}");
            is_free
        })
        .await;
    });
    join_all(all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_concurrent_locks_succeeds() {
    let server = Memcached::start().await;
    let stores = [server.store(), server.store(), server.store(), server.store()];
    let all = (0..64).map(|n| {
        let store = stores[n % 4].clone();
        tokio::spawn(async move { store.lock(KEY, &format!("owner {n}"), MINUTE).await.unwrap() })
    });
    let taken = join_all(all).await.into_iter().filter(|taken| *taken.as_ref().unwrap());
    assert_eq!(taken.count(), 1);
}
