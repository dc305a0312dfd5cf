//! Common constructions.

use std::time::Duration;

use tower_oauth2::cache::TokenCacheBuilder;
use tower_oauth2::source::{HttpClient, TokenRetry};
use tower_oauth2::testing::ScriptedSource;
use tower_oauth2::{
    AccessToken, CachedToken, ClientAuth, Credentials, OAuth2Layer, Origins, TokenCache,
    TokenEndpoint, TokenError, Tokens,
};

use super::seed;

/// The secret of the client.
pub const SECRET: &str = "s3cr3t-of-the-client";

/// Returns credentials for a nonexistent endpoint, and seeds the test's random numbers.
pub fn credentials() -> Credentials {
    credentials_at("https://auth.test/token")
}

/// Returns credentials for `endpoint`, and seeds the random numbers of the test.
pub fn credentials_at(endpoint: impl AsRef<str>) -> Credentials {
    // Here, because almost every test has credentials, and jitter makes it random.
    seed();
    Credentials::new(endpoint, ClientAuth::client_secret_basic("client-id", SECRET)).unwrap()
}

/// Returns credentials with this client authentication, and seeds the random numbers of the test.
pub fn credentials_with(auth: ClientAuth) -> Credentials {
    seed();
    Credentials::new("https://auth.test/token", auth).unwrap()
}

/// Returns a token `token-<n>` that lives for an hour.
pub fn hour(n: usize) -> AccessToken {
    lasting(n, Duration::from_secs(3600))
}

/// Returns a token `token-<n>` that lives for `lifetime`.
pub fn lasting(n: usize, lifetime: Duration) -> AccessToken {
    AccessToken::new(format!("token-{n}")).unwrap().with_expires_in(lifetime)
}

/// Returns a builder of a cache over `source`.
pub fn builder(source: &ScriptedSource) -> TokenCacheBuilder {
    TokenCache::builder(source.clone())
}

/// Returns the tokens of [`credentials`], in a cache over `source` with default settings.
pub fn tokens(source: &ScriptedSource) -> Tokens {
    Tokens::new(credentials(), source.clone())
}

/// Creates a token endpoint that does not retry.
pub fn single_try<M>(http: impl HttpClient<M>) -> TokenEndpoint {
    TokenEndpoint::new(http).retry(TokenRetry::none())
}

/// Returns a layer that sends `tokens` to every origin.
pub fn layer(tokens: &Tokens) -> OAuth2Layer {
    OAuth2Layer::new(tokens.clone(), Origins::any())
}

/// Returns the credentials of one tenant.
pub fn tenant(n: usize) -> Credentials {
    credentials().audience(format!("https://tenant-{n}.test/"))
}

/// Gets a token of `credentials`, and drops the handle after that.
pub async fn get_for(
    cache: &TokenCache,
    credentials: &Credentials,
) -> Result<CachedToken, TokenError> {
    cache.tokens(credentials).get().await
}

/// Gets a token, and returns its secret.
pub async fn secret(tokens: &Tokens) -> String {
    tokens.get().await.unwrap().secret().to_owned()
}
