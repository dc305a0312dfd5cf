//! The cache by itself, on a paused clock.

mod claims;
mod failure;
mod fallback;
mod fallback_beside_fetch;
mod lifetime;
mod liveness;
mod many;
mod older_fetch;
mod rejection;
mod renewal;
mod warm;

use std::time::Duration;

use tower_oauth2::TokenCache;
use tower_oauth2::cache::TokenCacheBuilder;

use crate::support::*;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A cache that does not renew ahead, for tests of something else.
fn plain(source: &Source) -> TokenCache {
    builder(source).renew_ahead(Duration::ZERO).build()
}

fn builder(source: &Source) -> TokenCacheBuilder {
    TokenCache::builder(credentials(), source.clone())
}

async fn secret(cache: &TokenCache) -> String {
    cache.get().await.unwrap().secret().to_owned()
}
