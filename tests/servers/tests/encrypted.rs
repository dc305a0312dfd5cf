//! `EncryptedStore` meets the contract of a store over each server.

use tower_oauth2::store::{EncryptedStore, EncryptionKey, RedisStore, TokenStore};
use tower_oauth2_testkit::conformance::{Promises, check};
use tower_oauth2_testkit::servers::{Memcached, Redis};

/// Returns an encrypted store during a key rotation.
fn encrypted<S: TokenStore>(store: S) -> EncryptedStore<S> {
    let [new, old] = ["new", "old"].map(|id| EncryptionKey::generate(id).unwrap());
    EncryptedStore::new(store, new).also_opens(old)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_redis_store_meets_the_contract() {
    let redis = Redis::start().await;
    check(encrypted(RedisStore::new(redis.connect().await)), Promises::all()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_memcached_store_meets_the_contract() {
    let server = Memcached::start().await;
    check(encrypted(server.store()), crate::memcached::promises()).await;
}
