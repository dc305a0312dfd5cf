//! [`TokenStore`] without its own future types, so that a layer names no store.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tower::BoxError;

use super::{StoredValue, TokenStore};

pub(super) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send + 'a>>;

pub(super) trait Erased: Send + Sync {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<StoredValue>>;
    fn set<'a>(&'a self, key: &'a str, value: &'a [u8], time_to_live: Duration) -> Answer<'a, ()>;
    fn replace<'a>(
        &'a self,
        key: &'a str,
        expected: Option<&'a [u8]>,
        value: &'a [u8],
        time_to_live: Duration,
    ) -> Answer<'a, bool>;
    fn lock<'a>(&'a self, key: &'a str, owner: &'a str, lease: Duration) -> Answer<'a, bool>;
    fn unlock<'a>(&'a self, key: &'a str, owner: &'a str) -> Answer<'a, ()>;
}

// In an `async` block each: a store may do something, and panic, before there is a future of its.
impl<T: TokenStore> Erased for T {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<StoredValue>> {
        Box::pin(async move { TokenStore::get(self, key).await })
    }

    fn set<'a>(&'a self, key: &'a str, value: &'a [u8], time_to_live: Duration) -> Answer<'a, ()> {
        Box::pin(async move { TokenStore::set(self, key, value, time_to_live).await })
    }

    fn replace<'a>(
        &'a self,
        key: &'a str,
        expected: Option<&'a [u8]>,
        value: &'a [u8],
        time_to_live: Duration,
    ) -> Answer<'a, bool> {
        Box::pin(async move { TokenStore::replace(self, key, expected, value, time_to_live).await })
    }

    fn lock<'a>(&'a self, key: &'a str, owner: &'a str, lease: Duration) -> Answer<'a, bool> {
        Box::pin(async move { TokenStore::lock(self, key, owner, lease).await })
    }

    fn unlock<'a>(&'a self, key: &'a str, owner: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { TokenStore::unlock(self, key, owner).await })
    }
}
