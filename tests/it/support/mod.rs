//! Two mocks, a source of tokens and an API, and real servers on loopback.

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
use tower_oauth2::{AccessToken, ClientAuth, Credentials};

pub use self::api::Api;
pub use self::endpoint::{Http, RawEndpoint, ask, head, nobody, response, send};
pub use self::folder::Folder;
#[cfg(feature = "metrics")]
pub use self::meter::Meter;
pub use self::server::{Client, Seen, client, server};
pub use self::source::Source;
pub use self::trace::Trace;

pub const SECRET: &str = "s3cr3t-of-the-client";

/// Credentials for an endpoint that nobody listens at.
pub fn credentials() -> Credentials {
    credentials_at("https://auth.test/token")
}

pub fn credentials_at(endpoint: impl AsRef<str>) -> Credentials {
    Credentials::new(endpoint, ClientAuth::client_secret_basic("client-id", SECRET)).unwrap()
}

/// A token `token-<n>` that lives for an hour.
pub fn hour(n: usize) -> AccessToken {
    lasting(n, Duration::from_secs(3600))
}

/// A token `token-<n>` that lives for `lifetime`.
pub fn lasting(n: usize, lifetime: Duration) -> AccessToken {
    AccessToken::new(format!("token-{n}")).unwrap().with_expires_in(lifetime)
}

/// A request to the API's origin.
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

/// A runtime with its own paused clock. It polls its tasks only within `block_on`.
pub fn paused_runtime() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// Lets every task that can run do so, without moving the clock.
pub async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
