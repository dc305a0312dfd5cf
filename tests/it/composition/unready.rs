use std::time::Duration;

use http::StatusCode;
use tower::{Service, ServiceExt};
use tower_oauth2::{TokenError, TokenErrorKind, Tokens};
use tower_test::mock;

use super::{HttpRequest, HttpResponse, layer_over, next, put};
use crate::support::{ScriptedSource, credentials, hour, lasting, settle};

fn rejection() -> HttpResponse {
    let mut response = HttpResponse::default();
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
}

// R5
#[tokio::test(start_paused = true)]
async fn a_request_waits_until_the_service_is_ready_after_a_fetch() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let mut stack = layer_over(Tokens::new(credentials(), ScriptedSource::tokens(hour))).layer(api);
    requests.allow(1);
    let miss = stack.ready().await.unwrap().call(put());
    requests.allow(0);
    let miss = tokio::spawn(miss);
    settle().await;
    assert!(requests.poll_request().is_pending());

    requests.allow(1);
    let (request, reply) = next(&mut requests).await;
    assert_eq!(request.headers()["authorization"], "Bearer token-1");
    reply.send_response(rejection());
    settle().await;
    assert!(requests.poll_request().is_pending(), "the mock allowed one request");

    requests.allow(1);
    let (request, reply) = next(&mut requests).await;
    assert_eq!(request.headers()["authorization"], "Bearer token-2");
    reply.send_response(HttpResponse::default());
    assert_eq!(miss.await.unwrap().unwrap().status(), StatusCode::OK);
}

// R5
#[tokio::test(start_paused = true)]
async fn a_token_that_ages_while_the_service_is_not_ready_is_not_sent() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let source = ScriptedSource::tokens(|n| lasting(n, Duration::from_secs(100)));
    let tokens = Tokens::new(credentials(), source);
    let mut stack = layer_over(tokens.clone()).layer(api);
    requests.allow(1);
    let miss = stack.ready().await.unwrap().call(put());
    requests.allow(0);
    let miss = tokio::spawn(miss);
    settle().await;
    tokio::time::advance(Duration::from_secs(200)).await;
    // Another caller has fetched a newer token.
    assert_eq!(tokens.get().await.unwrap().secret(), "token-2");
    requests.allow(1);
    let (request, reply) = next(&mut requests).await;
    assert_eq!(request.headers()["authorization"], "Bearer token-2");
    reply.send_response(HttpResponse::default());
    assert_eq!(miss.await.unwrap().unwrap().status(), StatusCode::OK);
}

// R5, R2
#[tokio::test(start_paused = true)]
async fn an_error_of_readiness_before_a_replay_is_returned() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let (source, mut token_requests) = mock::pair();
    let mut stack = layer_over(Tokens::new(credentials(), source)).layer(api);

    let sent = tokio::spawn(stack.ready().await.unwrap().call(put()));
    next(&mut token_requests).await.1.send_response(hour(1));
    next(&mut requests).await.1.send_response(rejection());
    let (_, reply) = next(&mut token_requests).await;
    requests.send_error("the connection is gone");
    reply.send_response(hour(2));

    let error = sent.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the connection is gone");
    assert!(TokenError::find_in(&*error).is_none());

    // The next request uses the token that was fetched.
    let sent = tokio::spawn(stack.ready().await.unwrap().call(put()));
    let (request, reply) = next(&mut requests).await;
    assert_eq!(request.headers()["authorization"], "Bearer token-2");
    reply.send_response(HttpResponse::default());
    assert!(sent.await.unwrap().is_ok());
}

// R5
#[tokio::test(start_paused = true)]
async fn an_error_of_readiness_after_a_miss_is_returned() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let (source, mut token_requests) = mock::pair();
    let mut stack = layer_over(Tokens::new(credentials(), source)).layer(api);
    let sent = tokio::spawn(stack.ready().await.unwrap().call(put()));
    let (_, reply) = next(&mut token_requests).await;
    requests.send_error("the connection is gone");
    reply.send_response(hour(1));
    assert_eq!(sent.await.unwrap().unwrap_err().to_string(), "the connection is gone");

    // Before the token is looked up:
    requests.send_error("gone again");
    assert_eq!(stack.ready().await.unwrap_err().to_string(), "gone again");
}

// R2: an error of the inner service is returned as it is, as in the two tests above.
#[tokio::test(start_paused = true)]
async fn an_error_of_the_replay_is_returned() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let mut stack = layer_over(Tokens::new(credentials(), ScriptedSource::tokens(hour))).layer(api);
    let sent = tokio::spawn(stack.ready().await.unwrap().call(put()));
    next(&mut requests).await.1.send_response(rejection());
    next(&mut requests).await.1.send_error("reset by peer");
    assert_eq!(sent.await.unwrap().unwrap_err().to_string(), "reset by peer");
}

// R1: another request had it rejected.
#[tokio::test(start_paused = true)]
async fn a_token_rejected_while_the_service_is_not_ready_is_not_sent() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let tokens = Tokens::new(credentials(), ScriptedSource::tokens(hour));
    let mut stack = layer_over(tokens.clone()).layer(api);
    requests.allow(1);
    let miss = stack.ready().await.unwrap().call(put());
    requests.allow(0);
    let miss = tokio::spawn(miss);
    settle().await;
    tokens.get().await.unwrap().reject();
    requests.allow(1);
    let (request, reply) = next(&mut requests).await;
    assert_eq!(request.headers()["authorization"], "Bearer token-2");
    reply.send_response(HttpResponse::default());
    assert_eq!(miss.await.unwrap().unwrap().status(), StatusCode::OK);
}

// R8: if it were sent, its rejection would be returned, and would open the breaker of a healthy
// API.
#[tokio::test(start_paused = true)]
async fn a_token_that_is_rejected_before_its_replay_is_not_sent() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let tokens = Tokens::new(credentials(), ScriptedSource::tokens(hour));
    tokens.warm().await.unwrap();
    let mut stack = layer_over(tokens.clone()).layer(api);
    requests.allow(1);
    let sent = tokio::spawn(stack.ready().await.unwrap().call(put()));
    next(&mut requests).await.1.send_response(rejection());
    settle().await;

    let second = tokens.get().await.unwrap();
    assert_eq!(second.secret(), "token-2");
    second.reject();
    requests.allow(1);
    let (request, reply) = next(&mut requests).await;
    assert_eq!(request.headers()["authorization"], "Bearer token-3");
    reply.send_response(HttpResponse::default());
    assert_eq!(sent.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_service_can_be_called_again_after_a_token_error() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let source = ScriptedSource::new(|_, _| async { Err("no".into()) });
    let mut stack = layer_over(Tokens::new(credentials(), source)).layer(api);
    for _ in 0..3 {
        let error = stack.ready().await.unwrap().call(put()).await.unwrap_err();
        assert_eq!(TokenError::find_in(&*error).unwrap().kind(), TokenErrorKind::Source);
    }
    assert!(requests.poll_request().is_pending());
}
