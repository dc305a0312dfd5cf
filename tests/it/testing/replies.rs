use std::error::Error;
use std::time::Duration;
use std::{fmt, io};

use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use tokio::time::Instant;
use tower::ServiceExt;
use tower_oauth2::testing::{Reply, ScriptedEndpoint};
use tower_oauth2::{AccessToken, TokenError, TokenErrorKind, TokenRequest};

use crate::support::{SECRET, credentials, ms, secs, single_try};

/// Requests a token from an endpoint that sends `reply`.
async fn ask(reply: Reply) -> Result<AccessToken, TokenError> {
    let http = ScriptedEndpoint::in_order([reply]);
    single_try(http).oneshot(TokenRequest::new(credentials())).await
}

async fn failure(reply: Reply) -> TokenError {
    ask(reply).await.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_token_reply_has_the_members_that_were_set() {
    let reply = Reply::token("token-1")
        .expires_in(secs(3600))
        .member("scope", "read write")
        .member("refresh_token", "refresh-1")
        .member("instance_url", "https://api.test");
    let token = ask(reply).await.unwrap();
    assert_eq!((token.secret(), token.lifetime()), ("token-1", Some(secs(3600))));
    assert_eq!(token.scope(), Some("read write"));
    assert_eq!(token.refresh_token(), Some("refresh-1"));
    assert_eq!(token.extra("instance_url").unwrap(), "https://api.test");
}

#[tokio::test(start_paused = true)]
async fn a_token_reply_has_no_lifetime_by_default() {
    assert_eq!(ask(Reply::token("token-1")).await.unwrap().lifetime(), None);
}

#[tokio::test(start_paused = true)]
async fn fractions_of_a_second_reach_the_token() {
    let reply = Reply::token("token-1").expires_in(ms(1500));
    assert_eq!(ask(reply).await.unwrap().lifetime(), Some(ms(1500)));
}

#[tokio::test(start_paused = true)]
async fn an_error_reply_has_code_description_and_headers() {
    let reply = Reply::error(400, "invalid_grant")
        .description("the user has logged out")
        .header(RETRY_AFTER, "30")
        .header("retry-after", HeaderValue::from_static("60"));
    let error = failure(reply).await;
    assert_eq!(error.kind(), TokenErrorKind::ErrorResponse);
    assert_eq!(error.status(), Some(StatusCode::BAD_REQUEST));
    assert_eq!(error.error_code(), Some("invalid_grant"));
    assert_eq!(error.error_description(), Some("the user has logged out"));
    assert_eq!(error.headers().unwrap()["content-type"], "application/json");
    assert_eq!(error.retry_after(), Some(secs(60)));
}

#[tokio::test(start_paused = true)]
async fn a_response_has_its_status_and_body_as_given() {
    let error = failure(Reply::response(502, "<html>Bad Gateway</html>")).await;
    assert_eq!(error.status(), Some(StatusCode::BAD_GATEWAY));
    assert_eq!(error.body().unwrap(), "<html>Bad Gateway</html>");
    assert!(error.headers().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_connection_error_keeps_its_text_and_causes() {
    let error = failure(Reply::connection_error("connection reset by peer")).await;
    assert_eq!(error.kind(), TokenErrorKind::Transport);
    assert!(error.to_string().contains("connection reset by peer"), "{error}");

    let error = failure(Reply::connection_error(Unreachable(io::Error::other("no route")))).await;
    let text = error.to_string();
    assert!(text.contains("unreachable") && text.contains("no route"), "{text}");
}

/// An error with a cause.
#[derive(Debug)]
struct Unreachable(io::Error);

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unreachable")
    }
}

impl Error for Unreachable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn any_reply_can_be_delayed() {
    let replies =
        [Reply::token("t"), Reply::error(400, "invalid_scope"), Reply::connection_error("closed")];
    for reply in replies {
        let start = Instant::now();
        let _ = ask(reply.after(secs(7))).await;
        assert_eq!(start.elapsed(), secs(7));
    }
}

#[tokio::test(start_paused = true)]
async fn mistakes_in_replies_are_named() {
    let cases = [
        (Reply::error(42, "invalid_client"), "the status 42 is invalid"),
        (Reply::response(1000, ""), "the status 1000 is invalid"),
        // The first mistake is the one to repair.
        (Reply::error(42, "slow_down").description("wait"), "the status 42 is invalid"),
        (Reply::error(42, "slow_down").header("retry-after", "1"), "the status 42 is invalid"),
        (Reply::token("t").header("no name", "v").expires_in(secs(1)), "a header is invalid"),
        (Reply::token("t").header("no name", "value"), "a header is invalid"),
        (Reply::token("t").header("name", "line\nbreak"), "a header is invalid"),
        (Reply::response(200, "{}").expires_in(secs(1)), "only a token or error response"),
        (Reply::no_response().description("down"), "only a token or error response"),
        (Reply::connection_error("closed").header("name", "value"), "only a response has headers"),
    ];
    for (reply, expected) in cases {
        let error = failure(reply).await.to_string();
        assert!(error.contains(expected), "{error}");
    }
}

// X3
#[test]
fn debug_of_a_reply_shows_no_token() {
    let reply = Reply::token(SECRET).member("refresh_token", SECRET).header("x-token", SECRET);
    assert_eq!(format!("{reply:?}"), "Reply { status: 200, delay: 0ns, .. }");
    let reply = Reply::response(200, SECRET).after(Duration::from_secs(2));
    assert_eq!(format!("{reply:?}"), "Reply { status: 200, delay: 2s, .. }");
}
