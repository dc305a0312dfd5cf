use tower_oauth2::TokenCache;

use crate::support::*;

// alf 14
#[tokio::test(start_paused = true)]
async fn a_valid_token_is_reused() {
    let source = Source::of(hour);
    let cache = TokenCache::new(credentials(), source.clone());
    for _ in 0..3 {
        assert_eq!(cache.get().await.unwrap().secret(), "token-1");
    }
    assert_eq!(source.count(), 1);
}
