//! Keys in the server, and values of other clients.

use std::time::Duration;

use redis::cmd;
use tower_oauth2::store::{RedisStore, TokenStore};
use tower_oauth2_testkit::servers::{Cluster, Redis};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_key_and_its_lease_are_in_one_slot() {
    let cluster = Cluster::start().await;
    let store = RedisStore::new(cluster.connect().await);
    for (n, prefix) in ["tower-oauth2:", "", "a}b", "{all}:", "a{b"].into_iter().enumerate() {
        let store = store.clone().prefix(prefix).unwrap();
        let key = format!("key-{n}");
        store.set(&key, b"value", MINUTE).await.unwrap();
        assert!(store.lock(&key, "owner", MINUTE).await.unwrap());
        let mut found = Vec::new();
        for node in &cluster.nodes {
            for name in node.keys().await.into_iter().filter(|name| name.contains(&key)) {
                found.push((node.run::<u64>(&format!("CLUSTER KEYSLOT {name}")).await, name));
            }
        }
        found.sort();
        let [(slot, lease), (other_slot, token)] = &found[..] else { panic!("{found:?}") };
        assert_eq!(slot, other_slot, "{prefix}");
        assert_eq!(*lease, format!("{prefix}{{{key}}}:lease"));
        assert_eq!(*token, format!("{prefix}{{{key}}}:token"));
    }
    // With empty braces, the keys are in two slots, which also works.
    let store = store.prefix("{}").unwrap();
    store.set("key", b"value", MINUTE).await.unwrap();
    assert!(store.lock("key", "owner", MINUTE).await.unwrap());
    assert!(store.get("key").await.unwrap().is_some());
    store.unlock("key", "owner").await.unwrap();
}

#[tokio::test]
async fn values_of_other_clients_are_overwritten() {
    let redis = Redis::start().await;
    let store = RedisStore::new(redis.connect().await);
    let token = "tower-oauth2:{key}:token";
    let lease = "tower-oauth2:{key}:lease";
    for (what, command) in [
        ("a list", "RPUSH KEY a"),
        ("a hash", "HSET KEY a b"),
        ("a set", "SADD KEY a"),
        ("a stream", "XADD KEY * a b"),
        ("a text that does not end", "SET KEY a"),
        ("a huge text", "SETRANGE KEY 4194303 a"),
    ] {
        redis.run::<redis::Value>(&command.replace("KEY", token)).await;
        redis.run::<redis::Value>(&command.replace("KEY", lease)).await;
        if what.contains("huge") {
            redis.run::<()>(&format!("EXPIRE {token} 60")).await;
            redis.run::<()>(&format!("EXPIRE {lease} 60")).await;
        }
        assert!(store.get("key").await.unwrap().is_none(), "{what}");
        assert!(!store.replace("key", Some(b"a"), b"new", MINUTE).await.unwrap(), "{what}");
        assert!(store.replace("key", None, b"new", MINUTE).await.unwrap(), "{what}");
        assert_eq!(store.get("key").await.unwrap().unwrap().value(), b"new", "{what}");

        store.unlock("key", "a").await.unwrap();
        assert!(store.lock("key", "owner", MINUTE).await.unwrap(), "{what}");
        assert!(!store.lock("key", "other", MINUTE).await.unwrap(), "{what}");
        redis.run::<()>(&format!("DEL {token} {lease}")).await;

        redis.run::<redis::Value>(&command.replace("KEY", token)).await;
        store.set("key", b"set", MINUTE).await.unwrap();
        assert_eq!(store.get("key").await.unwrap().unwrap().value(), b"set", "{what}");
        redis.run::<()>(&format!("DEL {token}")).await;
    }
}

#[tokio::test]
async fn scripts_are_sent_again_after_a_flush() {
    let redis = Redis::start().await;
    let store = RedisStore::new(redis.connect().await);
    for _ in 0..2 {
        redis.run::<()>("SCRIPT FLUSH").await;
        assert!(store.replace("key", None, b"value", MINUTE).await.unwrap());
        redis.run::<()>("SCRIPT FLUSH").await;
        assert_eq!(store.get("key").await.unwrap().unwrap().value(), b"value");
        redis.run::<()>("SCRIPT FLUSH").await;
        assert!(store.lock("key", "owner", MINUTE).await.unwrap());
        redis.run::<()>("SCRIPT FLUSH").await;
        store.unlock("key", "owner").await.unwrap();
        redis.run::<()>("FLUSHALL").await;
    }
}

#[tokio::test]
async fn a_dropped_operation_does_not_break_the_connection() {
    let redis = Redis::start().await;
    let mut connection = redis.connect().await;
    let store = RedisStore::new(connection.clone());
    for n in 0..100 {
        let key = format!("key-{n}");
        store.set(&key, key.as_bytes(), MINUTE).await.unwrap();
    }
    // The paused server does not answer, so all of these operations are pending when they are
    // dropped.
    redis.pause();
    for n in 0..50 {
        let key = format!("key-{n}");
        let mut got = Box::pin(store.get(&key));
        for _ in 0..3 {
            assert!(futures_util::poll!(&mut got).is_pending());
            tokio::task::yield_now().await;
        }
    }
    redis.resume();
    for n in 50..100 {
        let key = format!("key-{n}");
        assert_eq!(store.get(&key).await.unwrap().unwrap().value(), key.as_bytes());
    }
    let answer: String = cmd("ECHO").arg("in order").query_async(&mut connection).await.unwrap();
    assert_eq!(answer, "in order");
}
