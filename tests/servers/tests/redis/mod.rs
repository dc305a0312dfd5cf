//! `RedisStore` over each kind of connection.

mod connection;
mod errors;
mod keys;
mod open;
mod reconnect;

use std::time::Duration;

use tower_oauth2::store::{RedisStore, TokenStore};
use tower_oauth2_testkit::conformance::{Promises, check};
use tower_oauth2_testkit::servers::{Cluster, Redis, TlsRedis};

#[tokio::test(flavor = "multi_thread")]
async fn redis_meets_the_contract_of_a_store() {
    let redis = Redis::start().await;
    check(redis.open(), Promises::all()).await;
    check(RedisStore::new(redis.connect().await), Promises::all()).await;
    check(RedisStore::new(redis.manage()), Promises::all()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_permissions_are_needed_and_sufficient() {
    let server = TlsRedis::start().await;
    let rights = "~somewhere/else/* +get +set +pttl +del +evalsha +eval";
    server.redis.run::<()>(&format!("ACL SETUSER tokens on >s3cr3t {rights}")).await;
    let store = server.open_as("tokens:s3cr3t").prefix("somewhere/else/").unwrap();
    check(store.clone(), Promises::all()).await;

    // Each permission is needed.
    for right in ["get", "set", "pttl", "del", "evalsha", "eval"] {
        server.redis.run::<()>("SCRIPT FLUSH").await;
        server.redis.run::<()>(&format!("ACL SETUSER tokens -{right}")).await;
        let works = async {
            store.set("key", b"value", Duration::from_secs(60)).await?;
            store.get("key").await?;
            store.lock("key", "owner", Duration::from_secs(60)).await?;
            store.unlock("key", "owner").await
        };
        let error = works.await.expect_err(right).to_string();
        assert!(["Redis: NOPERM", "Redis: ERR"].contains(&&*error), "{right}: {error}");
        server.redis.run::<()>(&format!("ACL SETUSER tokens +{right}")).await;
    }
    let elsewhere = server.open_as("tokens:s3cr3t");
    let error = elsewhere.get("key").await.unwrap_err();
    assert_eq!(error.to_string(), "Redis: NOPERM");
    let store = server.open_as("tokens:wrong");
    let error = store.get("key").await.unwrap_err();
    assert_eq!(error.to_string(), "Redis: authentication failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_meets_the_contract_of_a_store() {
    let cluster = Cluster::start().await;
    let store = RedisStore::new(cluster.connect().await);
    check(store, Promises::all()).await;
    for node in &cluster.nodes {
        assert!(node.run::<u64>("DBSIZE").await > 0, "a node has no keys");
    }
}
