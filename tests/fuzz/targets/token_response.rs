//! Fuzzes the response of a token endpoint. The result is a token that can be sent, or an error
//! without secrets.
//!
//! The case is one response (`support/reply.rs`).

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use tower::ServiceExt;
use tower_oauth2::{AccessToken, TokenError, TokenErrorKind, TokenRequest};

use super::support::*;

pub fn run(data: &[u8]) {
    let reply = Reply::read(data);
    block_on(async {
        let response = reply.clone();
        let endpoint = single_try(http(move |_| response.response()));
        let began = Instant::now();
        let result = endpoint.oneshot(TokenRequest::new(credentials())).await;
        // W7
        assert!(began.elapsed() <= Duration::from_secs(31), "the request exceeds its timeout");
        match &result {
            Ok(token) => {
                assert!(token.time_left() <= token.lifetime());
                assert_is_what_was_sent(token, &reply);
            }
            Err(error) => assert_fits(error, &reply),
        }
        // W3, if serde can read the whole response.
        if let Some(json) = reply.json() {
            let is_token = reply.status.is_success() && reply.arrives() && is_token(&json);
            assert_eq!(result.is_ok(), is_token, "{result:?} for {json}");
        }
    });
}

/// Returns whether a response is a valid token response (RFC 6749 section 5.1).
fn is_token(json: &Value) -> bool {
    let is_sendable = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    json.is_object()
        && json["error"].as_str().is_none_or(str::is_empty)
        && json["access_token"].as_str().is_some_and(is_sendable)
        && match &json["token_type"] {
            Value::Null => true,
            Value::String(token_type) => token_type.eq_ignore_ascii_case("bearer"),
            _ => false,
        }
}

fn assert_is_what_was_sent(token: &AccessToken, reply: &Reply) {
    assert_token(token);
    assert!(reply.status.is_success() && reply.arrives());
    let Some(json) = reply.json() else { return };
    assert_eq!(json["access_token"], token.secret());
    assert_eq!(json["scope"].as_str(), token.scope());
    if let Some(seconds) = json["expires_in"].as_u64() {
        assert_eq!(token.lifetime(), Some(Duration::from_secs(seconds).min(YEAR)));
    }
    let absent = json["expires_in"].is_null() || json["expires_in"].is_boolean();
    assert!(!absent || token.lifetime().is_none());
    for (name, value) in json.as_object().unwrap() {
        let extra = token.extra(name);
        assert!(extra.is_none() || extra.as_ref() == Some(value), "{name}");
    }
}

fn assert_fits(error: &TokenError, reply: &Reply) {
    use TokenErrorKind::*;

    assert_error(error, reply);
    let status = reply.status;
    let arrives = reply.arrives();
    assert!(
        match error.kind() {
            Timeout | IncompleteResponse | ResponseTooLarge => status.is_success() && !arrives,
            Redirect => status.is_redirection(),
            ErrorResponse => !status.is_redirection(),
            MalformedResponse | InvalidAccessToken | UnsupportedTokenType => status.is_success(),
            _ => false,
        },
        "{error} for {status}"
    );
}
