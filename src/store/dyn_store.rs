//! Defines an object-safe form of [`TokenStore`].
//!
//! With it, a layer has no type parameter for its store.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tower::BoxError;

use super::{StoredValue, TokenStore};

pub(super) type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send + 'a>>;

pub(super) trait DynTokenStore: Send + Sync {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<StoredValue>>;
    fn set<'a>(
        &'a self,
        key: &'a str,
        value: &'a [u8],
        time_to_live: Duration,
    ) -> StoreFuture<'a, ()>;
    fn replace<'a>(
        &'a self,
        key: &'a str,
        expected: Option<&'a [u8]>,
        value: &'a [u8],
        time_to_live: Duration,
    ) -> StoreFuture<'a, bool>;
    fn lock<'a>(&'a self, key: &'a str, owner: &'a str, lease: Duration) -> StoreFuture<'a, bool>;
    fn unlock<'a>(&'a self, key: &'a str, owner: &'a str) -> StoreFuture<'a, ()>;
}

// Each method calls the store inside its `async` block, because a store may panic before it
// returns its future. The panic must occur in `poll`, where `Health::run` catches it.
impl<T: TokenStore> DynTokenStore for T {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<StoredValue>> {
        Box::pin(async move { TokenStore::get(self, key).await })
    }

    fn set<'a>(
        &'a self,
        key: &'a str,
        value: &'a [u8],
        time_to_live: Duration,
    ) -> StoreFuture<'a, ()> {
        Box::pin(async move { TokenStore::set(self, key, value, time_to_live).await })
    }

    fn replace<'a>(
        &'a self,
        key: &'a str,
        expected: Option<&'a [u8]>,
        value: &'a [u8],
        time_to_live: Duration,
    ) -> StoreFuture<'a, bool> {
        Box::pin(async move { TokenStore::replace(self, key, expected, value, time_to_live).await })
    }

    fn lock<'a>(&'a self, key: &'a str, owner: &'a str, lease: Duration) -> StoreFuture<'a, bool> {
        Box::pin(async move { TokenStore::lock(self, key, owner, lease).await })
    }

    fn unlock<'a>(&'a self, key: &'a str, owner: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async move { TokenStore::unlock(self, key, owner).await })
    }
}
