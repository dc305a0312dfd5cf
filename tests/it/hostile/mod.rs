//! Tests malformed responses of token endpoints, each through a whole stack.

mod answers;
mod connections;

use std::error::Error as StdError;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tower::{BoxError, ServiceExt};
use tower_oauth2::TokenErrorKind::{self, *};
use tower_oauth2::{OAuth2Layer, Origins, TokenError, Tokens};

use crate::support::*;

/// A token, and a text in bodies and headers. No error and no event may contain them.
const TOKEN: &str = "t0k3n-of-the-server";
const TEXT: &str = "t3xt-of-the-server";

/// Longer than any test takes that does not test timeouts.
const LONG: Duration = Duration::from_secs(60);

/// Tokens of the endpoint at `url`, and a layer and an API that use them.
struct Stack {
    tokens: Tokens,
    layer: OAuth2Layer,
    api: Api,
}

impl Stack {
    fn new(url: &str, timeout: Duration) -> Self {
        let endpoint = single_try(client()).timeout(timeout);
        // The secret is sent in a header and in the form.
        let credentials = credentials_at(url).parameter("password", SECRET);
        let tokens = Tokens::new(credentials, endpoint);
        let origins = Origins::only(["https://api.test"]).unwrap();
        Self { layer: OAuth2Layer::new(tokens.clone(), origins), tokens, api: Api::always(200) }
    }

    async fn call(&self) -> Result<(), BoxError> {
        let response = self.layer.layer(self.api.clone()).oneshot(get("/")).await?;
        assert_eq!(response.status(), 200);
        Ok(())
    }
}

/// Sends a request, and returns its error. Checks that the API is not called and no secret is
/// shown.
async fn refused(url: &str, timeout: Duration, name: &str) -> TokenError {
    let (trace, _listening) = Trace::start();
    let stack = Stack::new(url, timeout);
    let error = stack.call().await.expect_err(name);
    assert_eq!(stack.api.count(), 0, "{name}");

    let lines = trace.lines();
    assert!(lines.iter().any(|line| line.contains("token request failed")), "{name}: {lines:?}");
    let shown = format!("{} {:?} {:?}", lines.join("\n"), stack.tokens, stack.layer);
    assert_hides_secrets(&shown, name);
    assert_hides_secrets(&texts(&*error).join("\n"), name);
    error.downcast_ref::<TokenError>().expect(name).clone()
}

/// Sends a request, and checks that it has the endpoint's token and shows no secret.
async fn assert_used(endpoint: &RawEndpoint, name: &str) {
    let (trace, _listening) = Trace::start();
    let stack = Stack::new(&endpoint.url("/token"), LONG);
    stack.call().await.expect(name);
    assert_eq!(stack.api.tokens(), [TOKEN], "{name}");
    assert_eq!(endpoint.count(), 1, "{name}");

    let lines = trace.lines();
    assert!(lines.iter().any(|line| line.contains("token arrived")), "{name}: {lines:?}");
    let token = stack.tokens.get().await.expect(name);
    let shown = format!("{} {:?} {:?} {token:?}", lines.join("\n"), stack.tokens, stack.layer);
    assert_hides_secrets(&shown, name);
}

/// Returns the texts of an error and of its sources, which must be printable.
fn texts(error: &(dyn StdError + 'static)) -> Vec<String> {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    let texts: Vec<_> =
        chain.flat_map(|error| [format!("{error}"), format!("{error:?}")]).collect();
    for text in &texts {
        assert!(text.len() < 300 && !text.contains(char::is_control), "{text:?}");
    }
    texts
}

fn assert_hides_secrets(shown: &str, name: &str) {
    for secret in [SECRET, TOKEN, TEXT, &echoed_credentials()] {
        assert!(!shown.contains(secret), "{name}: {shown}");
    }
}

/// Returns the value that a server may echo from the `Authorization` header of the request.
fn echoed_credentials() -> String {
    BASE64_STANDARD.encode(format!("client-id:{SECRET}"))
}

/// Returns a response whose headers repeat all secrets.
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
