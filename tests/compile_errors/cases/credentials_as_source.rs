use tower_oauth2::{Credentials, TokenCache};

fn cache(credentials: Credentials) -> TokenCache {
    TokenCache::new(credentials)
}

fn main() {}
