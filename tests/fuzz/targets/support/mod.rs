//! Responses made from cases, a paused clock, and checks that no secret is shown.
//!
//! The doubles are not those of the testkit, because a response comes from the bytes of a case, and
//! because cargo-fuzz compiles every dependency with instrumentation.

mod events;
mod reply;
mod script;

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
use tower_oauth2::source::{HttpClient, TokenRetry};
use tower_oauth2::{AccessToken, ClientAuth, Credentials, TokenEndpoint, TokenError};

pub use self::events::{listen, take_events};
pub use self::reply::{Frames, Reply, date};
#[cfg(feature = "jwt")]
pub use self::script::first;
pub use self::script::{BROKEN, Emitted, Script};

/// The secret of the client.
pub const SECRET: &str = "s3cr3t-of-the-client";

/// Replaces `$` in a case: a text of the server that no error may contain.
pub const TEXT: &str = "t3xt-of-the-server";

/// The longest lifetime.
pub const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Returns the text of a case, with `$` replaced by [`TEXT`].
pub fn planted(data: &[u8]) -> Vec<u8> {
    data.iter()
        .flat_map(|byte| match byte {
            b'$' => TEXT.as_bytes(),
            byte => std::slice::from_ref(byte),
        })
        .copied()
        .collect()
}

/// Runs a future on a paused clock, and fails if it does not end.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    listen();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let result = runtime.block_on(async {
        timeout(2 * YEAR, future).await.expect("the future ends within two years")
    });
    drop(runtime);
    assert_shows_no_secret(&take_events());
    result
}

/// Runs all tasks that can make progress, without moving the clock.
pub async fn settle() {
    for _ in 0..12 {
        tokio::task::yield_now().await;
    }
}

/// Waits until this time.
pub async fn until(at: Instant) {
    tokio::time::sleep_until(at).await;
}

pub fn credentials() -> Credentials {
    let auth = ClientAuth::client_secret_basic("client-id", SECRET);
    Credentials::new("https://auth.test/token", auth).unwrap()
}

/// Creates a token endpoint that does not retry.
pub fn single_try<M>(http: impl HttpClient<M>) -> TokenEndpoint {
    TokenEndpoint::new(http).retry(TokenRetry::none())
}

/// Returns a token that lives for an hour.
pub fn hour(text: impl AsRef<str>) -> AccessToken {
    AccessToken::new(text).unwrap().with_expires_in(Duration::from_secs(3600))
}

pub type Http = BoxCloneService<Request<Full<Bytes>>, Response<Frames>, BoxError>;

/// Returns an HTTP client whose responses come from `answer`.
pub fn http(
    answer: impl Fn(Request<Full<Bytes>>) -> Response<Frames> + Clone + Send + 'static,
) -> Http {
    BoxCloneService::new(service_fn(move |request| {
        let answer = answer(request);
        async move { Ok::<_, BoxError>(answer) }
    }))
}

/// Checks that a text contains neither a secret nor text from the server.
pub fn assert_shows_no_secret(text: &str) {
    for hidden in [SECRET, TEXT] {
        assert!(!text.contains(hidden), "the text shows {hidden}: {text}");
    }
}

/// Checks that error texts are short, printable and free of secrets. Checks the `Debug` texts too.
pub fn assert_texts(error: &(dyn StdError + 'static)) {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    for error in chain {
        for text in [format!("{error}"), format!("{error:?}")] {
            assert!(text.len() < 320, "long: {text}");
            assert!(!text.contains(char::is_control), "not printable: {text:?}");
            assert_shows_no_secret(&without_found_issuer(&text));
        }
    }
}

/// Removes the issuer that a document of another issuer names, which errors show.
fn without_found_issuer(text: &str) -> String {
    let Some((before, after)) = text.split_once("the configured one, but ") else {
        return text.to_owned();
    };
    let (found, rest) = after.split_once("; ").unwrap();
    assert!(found.len() <= 80 && !found.contains(SECRET), "the text shows {found}");
    format!("{before}{rest}")
}

pub fn assert_debug(value: &impl Debug) {
    assert_shows_no_secret(&format!("{value:?}"));
}

/// Checks the properties of every error after a response.
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

/// Checks that a token can be sent, is not shown and has a bounded lifetime.
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
