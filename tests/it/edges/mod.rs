//! The ends of every range: durations, runtimes that stand still, waits that outlast a token, and
//! what may pile up.

mod bounds;
mod claims;
mod durations;
mod readiness;
mod rejected_before;
mod removal;
mod renewal;
mod runtimes;

use std::time::Duration;

use tower_oauth2::TokenCache;
use tower_oauth2::cache::TokenCacheBuilder;

use crate::support::*;

const YEAR: Duration = Duration::from_secs(365 * 86_400);

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn builder(source: &Source) -> TokenCacheBuilder {
    TokenCache::builder(credentials(), source.clone())
}

async fn secret(cache: &TokenCache) -> String {
    cache.get().await.unwrap().secret().to_owned()
}
