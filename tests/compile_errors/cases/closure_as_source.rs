use tower_oauth2::{AccessToken, TokenCache, TokenRequest};

fn cache() -> TokenCache {
    TokenCache::new(|_: TokenRequest| async { AccessToken::new("t") })
}

fn main() {}
