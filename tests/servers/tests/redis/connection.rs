//! `RedisStore::new` with a connection of the user.

use std::time::Duration;

use tower_oauth2::store::{RedisStore, TokenStore};
use tower_oauth2_testkit::servers::Redis;

const MINUTE: Duration = Duration::from_secs(60);

// S6
#[tokio::test]
async fn an_operation_is_repeated_on_a_connection_manager() {
    let redis = Redis::start().await;
    let store = RedisStore::new(redis.manage());
    store.set("key", b"value", MINUTE).await.unwrap();
    for _ in 0..3 {
        assert_eq!(redis.run::<u64>("CLIENT KILL TYPE normal").await, 1);
        assert_eq!(store.get("key").await.unwrap().unwrap().value(), b"value");
        assert_eq!(redis.run::<u64>("CLIENT KILL TYPE normal").await, 1);
        assert!(store.lock("key", "owner", MINUTE).await.unwrap());
    }
}

// S6
#[tokio::test]
async fn a_lost_multiplexed_connection_is_not_replaced() {
    let redis = Redis::start().await;
    let store = RedisStore::new(redis.connect().await);
    assert_eq!(redis.run::<u64>("CLIENT KILL TYPE normal").await, 1);
    for _ in 0..3 {
        let error = store.get("key").await.unwrap_err();
        assert_eq!(error.to_string(), "Redis: the connection was lost");
    }
}
