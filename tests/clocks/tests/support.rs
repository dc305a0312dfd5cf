//! The two clocks, and the testkit's doubles in the states that these tests need.
//!
//! The doubles of a token endpoint are those of the sources that are compiled here.

use std::future::ready;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::sleep;
use tower_oauth2_clocks::cache::TokenCacheBuilder;
use tower_oauth2_clocks::source::TokenRetry;
use tower_oauth2_clocks::{ClientAuth, Credentials, TokenCache, TokenEndpoint, Tokens};

pub use tower_oauth2_clocks::testing::{Reply, ScriptedEndpoint};
pub use tower_oauth2_testkit::{Api, settle};

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3600);
pub const DAY: Duration = Duration::from_secs(86_400);

/// The time for which a token of an hour is used.
pub const USABLE: Duration = Duration::from_secs(3590);

/// The longest time for which hits do not read the wall clock.
pub const WALL_CLOCK_INTERVAL: Duration = Duration::from_millis(250);

/// Suspends the host: the wall clock goes on, and the monotonic clock stops.
pub fn suspend(duration: Duration) {
    manual_wall_clock::advance(duration);
}

/// Freezes the process: no task runs while both clocks go on.
pub async fn freeze(duration: Duration) {
    tokio::time::advance(duration).await;
}

/// Lets `duration` pass on both clocks, while all tasks run.
pub async fn pass(duration: Duration) {
    sleep(duration).await;
}

/// Returns a reply with the token `token-<n>`, which lives for `lifetime`.
pub fn lasting(n: usize, lifetime: Duration) -> Reply {
    Reply::token(format!("token-{n}")).expires_in(lifetime)
}

/// Returns a reply with the token `token-<n>`, which lives for an hour.
pub fn hour(n: usize) -> Reply {
    lasting(n, HOUR)
}

/// Returns a failure of the connection.
pub fn refused() -> Reply {
    Reply::connection_error("connection refused")
}

/// Creates a token endpoint whose tokens all live for an hour.
pub fn hourly() -> ScriptedEndpoint {
    ScriptedEndpoint::new(hour)
}

pub fn credentials() -> Credentials {
    let auth = ClientAuth::client_secret_basic("client-id", "secret");
    Credentials::new("https://auth.test/token", auth).unwrap()
}

/// Creates tokens in a cache over `server`, and resets the wall clock.
pub fn tokens(server: &ScriptedEndpoint) -> Tokens {
    builder(server).build().tokens(&credentials())
}

/// Creates tokens that are not renewed ahead of their end.
pub fn tokens_without_renewal(server: &ScriptedEndpoint) -> Tokens {
    builder(server).renew_ahead(Duration::ZERO).build().tokens(&credentials())
}

pub fn builder(server: &ScriptedEndpoint) -> TokenCacheBuilder {
    manual_wall_clock::reset();
    TokenCache::builder(TokenEndpoint::new(server.clone()).retry(TokenRetry::none()))
}

/// Returns the text of the token that a caller gets now.
pub async fn get(tokens: &Tokens) -> String {
    tokens.get().await.unwrap().secret().to_owned()
}

pub fn request() -> Request<Full<Bytes>> {
    Request::get("https://api.test/").body(Full::default()).unwrap()
}

/// Creates an API that accepts every request.
pub fn api<B: 'static>() -> Api<B> {
    Api::serving(|_, _| ready(Response::new(Full::default())))
}
