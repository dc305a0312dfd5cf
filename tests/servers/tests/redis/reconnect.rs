//! `RedisStore::open`: connections that are lost, half-open, or lead to another server.

use std::future::Future;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime::Builder;
use tokio::time::timeout;
use tower::BoxError;
use tower_oauth2::store::{RedisStore, TokenStore};
use tower_oauth2_testkit::servers::{Proxy, Redis, run_on};

const MINUTE: Duration = Duration::from_secs(60);

/// Drops an operation after the default deadline of a `TokenStoreLayer`.
async fn give_up<T>(operation: impl Future<Output = T>) {
    let answer = timeout(Duration::from_millis(250), operation).await;
    assert!(answer.is_err(), "there was an answer");
}

/// Opens a store and waits until it is connected.
async fn opened(url: String) -> RedisStore {
    let store = RedisStore::open(url).unwrap();
    store.set("key", b"value", MINUTE).await.unwrap();
    store
}

/// Advances the clock without waiting.
async fn let_pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

async fn value(store: &RedisStore) -> Result<Vec<u8>, BoxError> {
    Ok(store.get("key").await?.expect("there is a value").value().to_vec())
}

// S6
#[tokio::test]
async fn each_operation_works_after_the_server_closed_the_connection() {
    let redis = Redis::start().await;
    let store = opened(redis.url()).await;
    let kill = || redis.run::<u64>("CLIENT KILL TYPE normal");
    assert_eq!(kill().await, 1);
    assert_eq!(value(&store).await.unwrap(), b"value");
    assert_eq!(kill().await, 1);
    store.set("key", b"set", MINUTE).await.unwrap();
    assert_eq!(kill().await, 1);
    assert!(store.replace("key", Some(b"set"), b"new", MINUTE).await.unwrap());
    assert_eq!(kill().await, 1);
    assert!(store.lock("key", "owner", MINUTE).await.unwrap());
    assert_eq!(kill().await, 1);
    store.unlock("key", "owner").await.unwrap();
    assert!(store.lock("key", "other", MINUTE).await.unwrap());
}

// S6
#[tokio::test]
async fn an_operation_whose_answer_was_lost_is_repeated() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.port()).await;
    let store = opened(proxy.url()).await;
    proxy.lose_next_answer();
    assert!(store.replace("key", Some(b"value"), b"new", MINUTE).await.unwrap());
    proxy.lose_next_answer();
    assert_eq!(value(&store).await.unwrap(), b"new");
    for owner in ["a", "b"] {
        proxy.lose_next_answer();
        assert!(store.lock("key", owner, MINUTE).await.unwrap());
        proxy.lose_next_answer();
        store.unlock("key", owner).await.unwrap();
    }
    proxy.lose_next_answer();
    store.set("key", b"set", MINUTE).await.unwrap();
    assert_eq!(value(&store).await.unwrap(), b"set");
    assert_eq!(proxy.accepted(), 8);
}

// S6
#[tokio::test]
async fn a_half_open_connection_costs_one_deadline() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.port()).await;
    let store = opened(proxy.url()).await;
    for connections in 2..5 {
        proxy.stall();
        join_all((0..8).map(|_| give_up(value(&store)))).await;
        for answer in join_all((0..8).map(|_| value(&store))).await {
            assert_eq!(answer.unwrap(), b"value");
        }
        assert_eq!(proxy.accepted(), connections, "one for all operations");
    }
}

// S6
#[tokio::test]
async fn a_connection_that_was_idle_for_long_is_replaced() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.port()).await;
    let store = opened(proxy.url()).await;
    proxy.stall();
    let_pass(Duration::from_secs(31)).await;
    assert_eq!(value(&store).await.unwrap(), b"value");
    assert_eq!(proxy.accepted(), 2);
}

// S6
#[tokio::test]
async fn one_attempt_to_connect_runs_at_a_time() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.port()).await;
    let store = opened(proxy.url()).await;
    proxy.stall();
    proxy.lead_nowhere();
    give_up(value(&store)).await;
    for _ in 0..8 {
        let operation = timeout(Duration::from_millis(10), value(&store));
        assert!(operation.await.is_err(), "there was an answer");
    }
    assert_eq!(proxy.accepted(), 2, "the attempt goes on");
    // The address leads to a server again, and the attempt has timed out.
    proxy.lead_to(redis.port());
    let_pass(Duration::from_secs(2)).await;
    assert_eq!(value(&store).await.unwrap(), b"value");
    assert_eq!(proxy.accepted(), 3);
}

// S6
#[tokio::test]
async fn a_moved_address_is_followed() {
    let (old, new) = (Redis::start().await, Redis::start().await);
    let proxy = Proxy::start(old.port()).await;
    let store = opened(proxy.url()).await;
    let neighbour = opened(new.url()).await;
    neighbour.set("key", b"moved", MINUTE).await.unwrap();
    proxy.lead_to(new.port());
    proxy.stall();
    give_up(value(&store)).await;
    assert_eq!(value(&store).await.unwrap(), b"moved");
}

// S6
#[tokio::test]
async fn a_restarted_server_is_used_at_once() {
    let redis = Redis::start().await;
    let store = opened(redis.url()).await;
    let killed = redis.kill();
    for _ in 0..2 {
        let error = value(&store).await.unwrap_err();
        assert_eq!(error.to_string(), "Redis: the connection was refused");
    }
    let _redis = killed.restart().await;
    assert!(store.get("key").await.unwrap().is_none());
    assert!(store.replace("key", None, b"new", MINUTE).await.unwrap());
}

// S6
#[tokio::test]
async fn a_server_that_refused_the_password_is_tried_again() {
    let redis = Redis::start().await;
    redis.run::<()>("CONFIG SET requirepass other").await;
    let store = RedisStore::open(redis.url().replace("//", "//:s3cr3t@")).unwrap();
    for _ in 0..2 {
        let error = store.get("key").await.unwrap_err();
        assert_eq!(error.to_string(), "Redis: authentication failed");
    }
    let mut inside = redis.connect_as("other").await;
    run_on::<()>(&mut inside, "CONFIG SET requirepass s3cr3t").await;
    assert!(store.get("key").await.unwrap().is_none());
}

// S6
#[tokio::test]
async fn a_failover_leads_to_the_new_primary() {
    let (old, new) = (Redis::start().await, Redis::start().await);
    let proxy = Proxy::start(old.port()).await;
    let store = opened(proxy.url()).await;
    new.replicate(&old).await;

    new.run::<()>("REPLICAOF NO ONE").await;
    old.run::<()>(&format!("REPLICAOF 127.0.0.1 {}", new.port())).await;
    proxy.lead_to(new.port());
    assert!(store.replace("key", Some(b"value"), b"new", MINUTE).await.unwrap());
    assert!(store.lock("key", "owner", MINUTE).await.unwrap());
    assert_eq!(value(&new.open()).await.unwrap(), b"new");
    assert_eq!(proxy.accepted(), 2);
}

// S6
#[tokio::test]
async fn a_node_that_refuses_writes_returns_no_value() {
    let redis = Redis::start().await;
    let store = opened(redis.url()).await;
    let newcomer = redis.open();
    for (trouble, remedy, expected) in [
        // A primary that is down, so that the replica keeps its data.
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "Redis: READONLY"),
        (
            "CONFIG SET min-replicas-to-write 1",
            "CONFIG SET min-replicas-to-write 0",
            "Redis: NOREPLICAS",
        ),
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "Redis: OOM"),
    ] {
        store.set("key", b"value", MINUTE).await.unwrap();
        redis.run::<()>(trouble).await;
        for store in [&store, &newcomer, &RedisStore::new(redis.connect().await)] {
            let error = value(store).await.unwrap_err();
            assert_eq!(error.to_string(), expected);
            let error = store.replace("key", Some(b"value"), b"new", MINUTE).await.unwrap_err();
            assert_eq!(error.to_string(), expected);
            let error = store.lock("key", "owner", MINUTE).await.unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        redis.run::<()>(remedy).await;
        store.set("key", b"later", MINUTE).await.unwrap();
        for store in [&store, &newcomer] {
            assert_eq!(value(store).await.unwrap(), b"later");
        }
    }
}

// S6
#[tokio::test]
async fn an_operation_dropped_early_keeps_the_connection() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.port()).await;
    let store = opened(proxy.url()).await;
    // The clock is paused, because on a busy machine a drop could come after the normal wait for an
    // answer.
    tokio::time::pause();
    for _ in 0..100 {
        let mut answer = Box::pin(value(&store));
        assert!(futures_util::poll!(&mut answer).is_pending());
        drop(answer);
        tokio::task::yield_now().await;
    }
    tokio::time::resume();
    assert_eq!(value(&store).await.unwrap(), b"value");
    assert_eq!(proxy.accepted(), 1);
}

// S6
#[test]
fn a_connection_of_a_runtime_that_ended_is_replaced() {
    let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime();
    let redis = server.block_on(Redis::start());
    let store = runtime().block_on(opened(redis.url()));
    for _ in 0..2 {
        assert_eq!(runtime().block_on(value(&store)).unwrap(), b"value");
    }
}

// S6
#[test]
fn a_connection_of_a_runtime_that_is_not_polled_is_replaced() {
    let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
    let (server, stopped) = (runtime(), runtime());
    let redis = server.block_on(Redis::start());
    let store = stopped.block_on(opened(redis.url()));
    server.block_on(async {
        give_up(value(&store)).await;
        assert_eq!(value(&store).await.unwrap(), b"value");
    });
}
