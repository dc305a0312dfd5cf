//! Encrypted tokens that several processes share through Redis.

use tower_oauth2::store::{EncryptedStore, EncryptionKey, RedisStore, StoredTokens};
use tower_oauth2::{BoxError, TokenCache, TokenEndpoint};

use crate::server::{Http, TestServer, expect};

/// Creates the cache of one process.
fn cache(http: Http, redis_url: &str, key: &str) -> Result<TokenCache, BoxError> {
    let redis = RedisStore::open(redis_url)?.prefix("shop:")?;
    let store = EncryptedStore::new(redis, key.parse()?);
    Ok(TokenCache::new(StoredTokens::new(TokenEndpoint::new(http), store)))
}

/// Uses the Redis server at `REDIS_URL`. Without it, the processes do not share tokens, because an
/// unreachable store never fails a request.
pub(crate) async fn run(server: &TestServer) -> Result<(), BoxError> {
    let redis_url = std::env::var("REDIS_URL").ok();
    let url = redis_url.as_deref().unwrap_or("redis://127.0.0.1:1/");
    let key = EncryptionKey::generate("2026-01")?.to_text();
    let credentials = server.credentials("shop")?;
    for _process in 0..2 {
        cache(server.http(), url, &key)?.tokens(&credentials).warm().await?;
    }
    expect(server.token_requests().len(), if redis_url.is_some() { 1 } else { 2 })
}
