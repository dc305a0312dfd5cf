use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio::runtime::{Builder, Runtime};

/// Returns a duration of `n` seconds.
pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Returns a duration of `n` milliseconds.
pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
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

/// Returns a request to the API's origin.
pub fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("https://api.test{path}")).body(Full::default()).unwrap()
}

/// Returns the body of a response as text.
pub async fn text<B>(response: Response<B>) -> String
where
    B: Body,
    B::Error: Debug,
{
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}
