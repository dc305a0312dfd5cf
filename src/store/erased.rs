//! [`TokenStore`] without its own future types, so that a layer names no store.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tower::BoxError;

use super::{Stored, TokenStore};

pub(super) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send + 'a>>;

pub(super) trait Erased: Send + Sync {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Stored>>;
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

impl<T: TokenStore> Erased for T {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Stored>> {
        Box::pin(TokenStore::get(self, key))
    }

    fn set<'a>(&'a self, key: &'a str, value: &'a [u8], time_to_live: Duration) -> Answer<'a, ()> {
        Box::pin(TokenStore::set(self, key, value, time_to_live))
    }

    fn replace<'a>(
        &'a self,
        key: &'a str,
        expected: Option<&'a [u8]>,
        value: &'a [u8],
        time_to_live: Duration,
    ) -> Answer<'a, bool> {
        Box::pin(TokenStore::replace(self, key, expected, value, time_to_live))
    }

    fn lock<'a>(&'a self, key: &'a str, owner: &'a str, lease: Duration) -> Answer<'a, bool> {
        Box::pin(TokenStore::lock(self, key, owner, lease))
    }

    fn unlock<'a>(&'a self, key: &'a str, owner: &'a str) -> Answer<'a, ()> {
        Box::pin(TokenStore::unlock(self, key, owner))
    }
}
