use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use tower_oauth2::store::TokenStore;

use super::support::{KEY, MINUTE, Memcached, OTHER, until};

#[tokio::test]
async fn a_lease_is_one_owners_who_may_take_it_again() {
    let server = Memcached::start().await;
    let (one, other) = (server.store(), server.store());
    assert!(one.lock(KEY, "one", MINUTE).await.unwrap());
    assert!(!other.lock(KEY, "other", MINUTE).await.unwrap());
    assert!(one.lock(KEY, "one", MINUTE).await.unwrap());
    assert!(other.lock(OTHER, "other", MINUTE).await.unwrap(), "another key's is another");
    assert_eq!(one.get(KEY).await.unwrap(), None, "a lease is no value");

    other.unlock(KEY, "other").await.unwrap();
    assert!(!other.lock(KEY, "other", MINUTE).await.unwrap(), "it was not theirs to give back");
    one.unlock(KEY, "one").await.unwrap();
    assert!(other.lock(KEY, "other", MINUTE).await.unwrap());
    one.unlock(OTHER, "one").await.unwrap();
    one.unlock("no-such-key", "one").await.unwrap();
}

#[tokio::test]
async fn to_take_a_lease_again_makes_it_last_longer() {
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
async fn a_lease_lasts_as_long_as_it_says_and_then_ends_by_itself() {
    let server = Memcached::start().await;
    let store = server.store();
    // Wherever in the server's second it begins.
    let all = (0..8).map(async |n| {
        sleep(Duration::from_millis(125 * n)).await;
        let lease = Duration::from_millis(900 + 101 * (n % 2));
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
async fn of_many_who_lock_at_once_one_does() {
    let server = Memcached::start().await;
    let stores = [server.store(), server.store(), server.store(), server.store()];
    let all = (0..64).map(|n| {
        let store = stores[n % 4].clone();
        tokio::spawn(async move { store.lock(KEY, &format!("owner {n}"), MINUTE).await.unwrap() })
    });
    let taken = join_all(all).await.into_iter().filter(|taken| *taken.as_ref().unwrap());
    assert_eq!(taken.count(), 1);
}
