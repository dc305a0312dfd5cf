//! Token endpoints that answer anything but what they should, each through a whole stack.

mod answers;
mod connections;

use std::error::Error as StdError;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tower::{BoxError, Layer, ServiceExt};
use tower_oauth2::TokenErrorKind::{self, *};
use tower_oauth2::{OAuth2Layer, Origins, TokenCache, TokenEndpoint, TokenError};

use crate::support::*;

/// A token, and a text in bodies and headers: neither may ever be told.
const TOKEN: &str = "t0k3n-of-the-server";
const TEXT: &str = "t3xt-of-the-server";

/// Longer than any test takes that is not about time.
const LONG: Duration = Duration::from_secs(60);

/// A token cache over the endpoint at `url`, with an API above it.
struct Stack {
    tokens: TokenCache,
    layer: OAuth2Layer,
    api: Api,
}

impl Stack {
    fn new(url: &str, timeout: Duration) -> Self {
        let endpoint = TokenEndpoint::new(client()).timeout(timeout);
        // The secret goes out in a header and in the form.
        let credentials = credentials_at(url).parameter("password", SECRET);
        let tokens = TokenCache::new(credentials, endpoint);
        let origins = Origins::only(["https://api.test"]).unwrap();
        Self { layer: OAuth2Layer::new(tokens.clone(), origins), tokens, api: Api::always(200) }
    }

    async fn call(&self) -> Result<(), BoxError> {
        let response = self.layer.layer(self.api.clone()).oneshot(get("/")).await?;
        assert_eq!(response.status(), 200);
        Ok(())
    }
}

/// The error that one request ends with; the API is not called, and nothing is told.
async fn refused(url: &str, timeout: Duration, name: &str) -> TokenError {
    let (trace, _listening) = Trace::start();
    let stack = Stack::new(url, timeout);
    let error = stack.call().await.expect_err(name);
    assert_eq!(stack.api.count(), 0, "{name}");

    let lines = trace.lines();
    assert!(lines.iter().any(|line| line.contains("token request failed")), "{name}: {lines:?}");
    let told = format!("{} {:?} {:?}", lines.join("\n"), stack.tokens, stack.layer);
    assert_tells_nothing(&told, name);
    assert_tells_nothing(&texts(&*error).join("\n"), name);
    error.downcast_ref::<TokenError>().expect(name).clone()
}

/// One request works, with the token of the endpoint, and nothing is told.
async fn assert_used(endpoint: &RawEndpoint, name: &str) {
    let (trace, _listening) = Trace::start();
    let stack = Stack::new(&endpoint.url("/token"), LONG);
    stack.call().await.expect(name);
    assert_eq!(stack.api.tokens(), [TOKEN], "{name}");
    assert_eq!(endpoint.count(), 1, "{name}");

    let lines = trace.lines();
    assert!(lines.iter().any(|line| line.contains("token arrived")), "{name}: {lines:?}");
    let token = stack.tokens.get().await.expect(name);
    let told = format!("{} {:?} {:?} {token:?}", lines.join("\n"), stack.tokens, stack.layer);
    assert_tells_nothing(&told, name);
}

/// Every text that an error and its sources have; each is printable.
fn texts(error: &(dyn StdError + 'static)) -> Vec<String> {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    let texts: Vec<_> =
        chain.flat_map(|error| [format!("{error}"), format!("{error:?}")]).collect();
    for text in &texts {
        assert!(text.len() < 300 && !text.contains(char::is_control), "{text:?}");
    }
    texts
}

fn assert_tells_nothing(told: &str, name: &str) {
    for secret in [SECRET, TOKEN, TEXT, &echoed_credentials()] {
        assert!(!told.contains(secret), "{name}: {told}");
    }
}

/// What a server may echo of the request's own `Authorization` header.
fn echoed_credentials() -> String {
    BASE64_STANDARD.encode(format!("client-id:{SECRET}"))
}

/// A response that repeats all that may not be told in its headers.
fn echoing(status: u16, body: impl AsRef<[u8]>) -> Vec<u8> {
    let echo = format!("{SECRET} {TOKEN} {TEXT} {}", echoed_credentials());
    let headers = [
        format!("WWW-Authenticate: Basic realm=\"{echo}\""),
        format!("X-Echo: {echo}"),
        format!("Set-Cookie: {TEXT}={TOKEN}"),
        format!("Location: https://auth.test/{TEXT}?code={TOKEN}&secret={SECRET}"),
        format!("Retry-After: {TEXT}"),
    ];
    response(status, &headers.each_ref().map(String::as_str), body)
}
