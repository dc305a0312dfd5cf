//! `Sealed` promises what the store within does.

use tower_oauth2::{MemoryStore, SealKey, Sealed, TokenStore};

use crate::conformance::{Promises, check};

/// The second key as if it were being replaced.
fn sealed<S: TokenStore>(store: S) -> Sealed<S> {
    let keys = ["new", "old"].map(|id| SealKey::generate(id).unwrap());
    Sealed::new(store, keys).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_over_memory_does_what_a_store_promises() {
    check(sealed(MemoryStore::new()), Promises::all()).await;
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread")]
async fn a_seal_over_redis_does_what_a_store_promises() {
    let redis = crate::support::Redis::start().await;
    let store = tower_oauth2::RedisStore::new(redis.connect().await);
    check(sealed(store), Promises::all()).await;
}

#[cfg(all(feature = "memcached", unix))]
#[tokio::test(flavor = "multi_thread")]
async fn a_seal_over_memcached_does_what_a_store_promises() {
    let server = crate::memcached::support::Memcached::start().await;
    check(sealed(server.store()), crate::memcached::promises()).await;
}
