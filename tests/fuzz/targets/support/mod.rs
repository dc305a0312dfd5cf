//! Responses out of cases, a paused clock, and what must never be told.

mod reply;
mod script;
mod told;

use std::error::Error as StdError;
use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use tokio::time::{Instant, timeout};
use tower::util::BoxCloneService;
use tower::{BoxError, service_fn};
use tower_oauth2::{AccessToken, ClientAuth, Credentials, TokenError};

pub use self::reply::{Frames, Reply, date};
#[cfg(feature = "jwt")]
pub use self::script::first;
pub use self::script::{BROKEN, Emitted, Script};
pub use self::told::{listen, told};

/// What the client proves itself with.
pub const SECRET: &str = "s3cr3t-of-the-client";

/// What `$` in a case stands for: a text of the server that nobody is told.
pub const TEXT: &str = "t3xt-of-the-server";

/// The longest that a lifetime may be.
pub const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The text of a case, with what stands for other things in it.
pub fn planted(data: &[u8]) -> Vec<u8> {
    data.iter()
        .flat_map(|byte| match byte {
            b'$' => TEXT.as_bytes(),
            byte => std::slice::from_ref(byte),
        })
        .copied()
        .collect()
}

/// Runs it on a clock that moves when nothing else can: what never ends shows.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    listen();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let result = runtime.block_on(async { timeout(2 * YEAR, future).await.expect("it ends") });
    drop(runtime);
    assert_tells_nothing(&told());
    result
}

/// Lets every task that can run do so, without moving the clock.
pub async fn settle() {
    for _ in 0..12 {
        tokio::task::yield_now().await;
    }
}

/// Until the clock is there.
pub async fn until(at: Instant) {
    tokio::time::sleep_until(at).await;
}

pub fn credentials() -> Credentials {
    let auth = ClientAuth::client_secret_basic("client-id", SECRET);
    Credentials::new("https://auth.test/token", auth).unwrap()
}

/// A token that lives for an hour.
pub fn hour(text: impl AsRef<str>) -> AccessToken {
    AccessToken::new(text).unwrap().with_expires_in(Duration::from_secs(3600))
}

pub type Http = BoxCloneService<Request<Full<Bytes>>, Response<Frames>, BoxError>;

/// An HTTP client that gets the answers of `answer`.
pub fn http(
    answer: impl Fn(Request<Full<Bytes>>) -> Response<Frames> + Clone + Send + 'static,
) -> Http {
    BoxCloneService::new(service_fn(move |request| {
        let answer = answer(request);
        async move { Ok::<_, BoxError>(answer) }
    }))
}

/// Neither a secret nor what the server wrote is in a text.
pub fn assert_tells_nothing(text: &str) {
    for hidden in [SECRET, TEXT] {
        assert!(!text.contains(hidden), "it tells {hidden}: {text}");
    }
}

/// The texts of an error and of its sources: short, printable, and nothing is told. So is `Debug` of what else
/// there is.
pub fn assert_texts(error: &(dyn StdError + 'static)) {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    for error in chain {
        for text in [format!("{error}"), format!("{error:?}")] {
            assert!(text.len() < 300, "long: {text}");
            assert!(!text.contains(char::is_control), "not printable: {text:?}");
            assert_tells_nothing(&text);
        }
    }
}

pub fn assert_debug(value: &impl Debug) {
    assert_tells_nothing(&format!("{value:?}"));
}

/// What holds for each error that a response led to.
pub fn assert_error(error: &TokenError, reply: &Reply) {
    assert_texts(error);
    let _ = error.is_transient();
    if let Some(status) = error.status() {
        assert_eq!(status, reply.status);
        // W5: an error keeps as many fields as fit into its bound.
        let headers = error.headers().unwrap();
        let size = |headers: &HeaderMap| -> usize {
            headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
        };
        assert!(size(headers) <= 7 * 1024);
        for (name, value) in headers {
            assert!(reply.headers.get_all(name).iter().any(|sent| sent == value), "{name}");
        }
        let is_small = size(&reply.headers) + 256 * reply.headers.len() <= 7 * 1024;
        assert!(!is_small || *headers == reply.headers, "a field is missing");
        let body = error.body().unwrap();
        assert!(body.len() <= 64 * 1024 && reply.body.starts_with(body), "another body");
    }
    assert!(error.retry_after().is_none_or(|after| after <= YEAR));
    assert!(error.retry_in().is_none_or(|after| after <= Duration::from_secs(60)));
}

/// What holds for each token: it can be sent, is not shown, and ends some time.
pub fn assert_token(token: &AccessToken) {
    let (secret, header) = (token.secret(), token.header_value());
    assert!(!secret.is_empty() && secret.bytes().all(|byte| byte.is_ascii_graphic()));
    assert_eq!(header.as_bytes(), format!("{} {secret}", token.token_type()).as_bytes());
    assert!(header.is_sensitive());
    assert!(token.lifetime().is_none_or(|lifetime| lifetime <= YEAR));
    assert!(token.refresh_in().is_none_or(|refresh_in| refresh_in <= YEAR));
    assert_eq!(token.time_left().is_some(), token.lifetime().is_some());
    assert_debug(token);
}
