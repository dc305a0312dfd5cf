//! Mocks of a token source and of an API, real servers on loopback, and common constructions.

mod api;
mod endpoint;
mod folder;
#[cfg(feature = "metrics")]
mod meter;
mod server;
mod source;
mod trace;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::runtime::{Builder, Runtime};
use tower_oauth2::cache::TokenCacheBuilder;
use tower_oauth2::source::{HttpClient, TokenRetry};
use tower_oauth2::{
    AccessToken, CachedToken, ClientAuth, Credentials, OAuth2Layer, Origins, TokenCache,
    TokenEndpoint, TokenError, Tokens,
};

pub use self::api::Api;
pub use self::endpoint::{Http, RawEndpoint, ask, head, nobody, response, send};
pub use self::folder::Folder;
#[cfg(feature = "metrics")]
pub use self::meter::Meter;
pub use self::server::{Client, Seen, client, raw_server, server};
pub use self::source::Source;
pub use self::trace::Trace;

pub const SECRET: &str = "s3cr3t-of-the-client";

/// Returns credentials for an endpoint that does not exist.
pub fn credentials() -> Credentials {
    credentials_at("https://auth.test/token")
}

pub fn credentials_at(endpoint: impl AsRef<str>) -> Credentials {
    Credentials::new(endpoint, ClientAuth::client_secret_basic("client-id", SECRET)).unwrap()
}

/// Returns a token `token-<n>` that lives for an hour.
pub fn hour(n: usize) -> AccessToken {
    lasting(n, Duration::from_secs(3600))
}

/// Returns a token `token-<n>` that lives for `lifetime`.
pub fn lasting(n: usize, lifetime: Duration) -> AccessToken {
    AccessToken::new(format!("token-{n}")).unwrap().with_expires_in(lifetime)
}

/// Returns a duration of `n` seconds.
pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Returns a duration of `n` milliseconds.
pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Returns a builder of a cache over `source`.
pub fn builder(source: &Source) -> TokenCacheBuilder {
    TokenCache::builder(source.clone())
}

/// Returns the tokens of [`credentials`], in a cache over `source` with default settings.
pub fn tokens(source: &Source) -> Tokens {
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

/// Returns a request to the API's origin.
pub fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("https://api.test{path}")).body(Full::default()).unwrap()
}

pub async fn text<B>(response: Response<B>) -> String
where
    B: http_body::Body,
    B::Error: std::fmt::Debug,
{
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// Creates a runtime with its own paused clock. It polls its tasks only within `block_on`.
pub fn paused_runtime() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// Runs all tasks that can make progress, without moving the clock.
pub async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
