use tokio::time::{Instant, sleep};
use tower::ServiceExt;
use tower_oauth2::source::TokenRetry;
use tower_oauth2::testing::{Reply, ScriptedEndpoint};
use tower_oauth2::{ClientAuth, Credentials, TokenEndpoint, TokenErrorKind, TokenRequest, Tokens};

use crate::support::{credentials, secret, secs, settle, single_try};

fn tokens(http: &ScriptedEndpoint) -> Tokens {
    Tokens::new(credentials(), single_try(http.clone()))
}

#[tokio::test(start_paused = true)]
async fn requests_are_numbered_across_clones() {
    let http = ScriptedEndpoint::new(|n| Reply::token(format!("token-{n}")));
    assert_eq!(secret(&tokens(&http)).await, "token-1");
    assert_eq!(secret(&tokens(&http)).await, "token-2");
    assert_eq!(http.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_last_of_the_listed_replies_repeats() {
    let http = ScriptedEndpoint::in_order([Reply::token("token-1"), Reply::token("token-2")]);
    for expected in ["token-1", "token-2", "token-2"] {
        assert_eq!(secret(&tokens(&http)).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn without_replies_the_error_says_so() {
    let http = ScriptedEndpoint::in_order([]);
    let error = tokens(&http).get().await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::Transport);
    assert!(error.to_string().contains("the scripted endpoint has no replies"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn each_retry_counts() {
    let http = ScriptedEndpoint::in_order([
        Reply::error(503, "temporarily_unavailable"),
        Reply::connection_error("connection reset by peer"),
        Reply::token("token-3"),
    ]);
    let endpoint = TokenEndpoint::new(http.clone());
    assert_eq!(secret(&Tokens::new(credentials(), endpoint)).await, "token-3");
    assert_eq!(http.count(), 3);
    let times: Vec<_> = http.requests().iter().map(|request| request.received_at()).collect();
    assert!(times[0] < times[1] && times[1] < times[2], "retries wait: {times:?}");
}

#[tokio::test(start_paused = true)]
async fn metadata_requests_count_too() {
    let metadata = r#"{"issuer":"https://auth.test","token_endpoint":"https://auth.test/t"}"#;
    let http =
        ScriptedEndpoint::in_order([Reply::response(200, metadata), Reply::token("token-1")]);
    let credentials =
        Credentials::from_issuer("https://auth.test", ClientAuth::none("id")).unwrap();
    assert_eq!(secret(&Tokens::new(credentials, single_try(http.clone()))).await, "token-1");
    let requests = http.requests();
    assert_eq!((requests[0].method().as_str(), requests[1].method().as_str()), ("GET", "POST"));
    assert_eq!(requests[1].uri(), "https://auth.test/t");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_recovers_serves_the_next_fetch() {
    let http = ScriptedEndpoint::in_order([Reply::no_response(), Reply::token("token-2")]);
    let tokens = tokens(&http);
    let start = Instant::now();
    let error = tokens.get().await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed()), (TokenErrorKind::Timeout, secs(30)));
    sleep(error.retry_in().unwrap()).await;
    assert_eq!(secret(&tokens).await, "token-2");
    assert_eq!(http.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_reply_reaches_the_cache_of_a_dropped_caller() {
    let http = ScriptedEndpoint::in_order([Reply::token("token-1").after(secs(5))]);
    let tokens = tokens(&http);
    let caller = tokio::spawn({
        let tokens = tokens.clone();
        async move { tokens.get().await }
    });
    settle().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    assert_eq!(http.count(), 1);
    assert_eq!(secret(&tokens).await, "token-1");
    assert_eq!(http.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_dropped_before_its_reply_stays_recorded() {
    let http = ScriptedEndpoint::in_order([Reply::no_response(), Reply::token("token-2")]);
    let endpoint = TokenEndpoint::new(http.clone()).timeout(secs(1)).retry(TokenRetry::none());
    let request = TokenRequest::new(credentials());
    endpoint.clone().oneshot(request.clone()).await.unwrap_err();
    assert_eq!(http.count(), 1);
    assert_eq!(endpoint.oneshot(request).await.unwrap().secret(), "token-2");
}
