//! `EncryptedStore` promises what the store within does.

use tower_oauth2::store::{EncryptedStore, EncryptionKey, MemoryStore, TokenStore};

use crate::conformance::{Promises, check};

/// The second key as if it were being replaced.
fn sealed<S: TokenStore>(store: S) -> EncryptedStore<S> {
    let keys = ["new", "old"].map(|id| EncryptionKey::generate(id).unwrap());
    EncryptedStore::new(store, keys).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_over_memory_does_what_a_store_promises() {
    check(sealed(MemoryStore::new()), Promises::all()).await;
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread")]
async fn a_seal_over_redis_does_what_a_store_promises() {
    let redis = crate::support::Redis::start().await;
    let store = tower_oauth2::store::RedisStore::new(redis.connect().await);
    check(sealed(store), Promises::all()).await;
}

#[cfg(all(feature = "memcached", unix))]
#[tokio::test(flavor = "multi_thread")]
async fn a_seal_over_memcached_does_what_a_store_promises() {
    let server = crate::memcached::support::Memcached::start().await;
    check(sealed(server.store()), crate::memcached::promises()).await;
}
