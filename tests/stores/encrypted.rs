//! `EncryptedStore` meets the contract of a store over each inner store.

use tower_oauth2::store::{EncryptedStore, EncryptionKey, MemoryStore, TokenStore};

use crate::conformance::{Promises, check};

/// Returns an encrypted store during a key rotation.
fn encrypted<S: TokenStore>(store: S) -> EncryptedStore<S> {
    let [new, old] = ["new", "old"].map(|id| EncryptionKey::generate(id).unwrap());
    EncryptedStore::new(store, new).also_opens(old)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_memory_store_meets_the_contract() {
    check(encrypted(MemoryStore::new()), Promises::all()).await;
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_redis_store_meets_the_contract() {
    let redis = crate::support::Redis::start().await;
    let store = tower_oauth2::store::RedisStore::new(redis.connect().await);
    check(encrypted(store), Promises::all()).await;
}

#[cfg(all(feature = "memcached", unix))]
#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_memcached_store_meets_the_contract() {
    let server = crate::memcached::support::Memcached::start().await;
    check(encrypted(server.store()), crate::memcached::promises()).await;
}
