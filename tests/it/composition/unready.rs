use std::time::Duration;

use http::StatusCode;
use tower::{Layer, Service, ServiceExt};
use tower_oauth2::{TokenCache, TokenError, TokenErrorKind};
use tower_test::mock;

use super::{HttpRequest, HttpResponse, layer_over, next, put};
use crate::support::{Source, credentials, hour, lasting, settle};

fn rejection() -> HttpResponse {
    let mut response = HttpResponse::default();
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
}

// R5
#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_ready_after_the_token_came_is_waited_for() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let mut stack = layer_over(TokenCache::new(credentials(), Source::of(hour))).layer(api);
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
    let source = Source::of(|n| lasting(n, Duration::from_secs(100)));
    let tokens = TokenCache::new(credentials(), source);
    let mut stack = layer_over(tokens.clone()).layer(api);
    requests.allow(1);
    let miss = stack.ready().await.unwrap().call(put());
    requests.allow(0);
    let miss = tokio::spawn(miss);
    settle().await;
    tokio::time::advance(Duration::from_secs(200)).await;
    // Somebody else has fetched another one by now.
    assert_eq!(tokens.get().await.unwrap().secret(), "token-2");
    requests.allow(1);
    let (request, reply) = next(&mut requests).await;
    assert_eq!(request.headers()["authorization"], "Bearer token-2");
    reply.send_response(HttpResponse::default());
    assert_eq!(miss.await.unwrap().unwrap().status(), StatusCode::OK);
}

// R5, R2
#[tokio::test(start_paused = true)]
async fn a_service_that_fails_to_become_ready_for_the_replay_is_the_callers_error() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let (source, mut asked) = mock::pair();
    let mut stack = layer_over(TokenCache::new(credentials(), source)).layer(api);

    let sent = tokio::spawn(stack.ready().await.unwrap().call(put()));
    next(&mut asked).await.1.send_response(hour(1));
    next(&mut requests).await.1.send_response(rejection());
    let (_, reply) = next(&mut asked).await;
    requests.send_error("the connection is gone");
    reply.send_response(hour(2));

    let error = sent.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the connection is gone");
    assert!(TokenError::find_in(&*error).is_none());

    // The token is there for the next request.
    let sent = tokio::spawn(stack.ready().await.unwrap().call(put()));
    let (request, reply) = next(&mut requests).await;
    assert_eq!(request.headers()["authorization"], "Bearer token-2");
    reply.send_response(HttpResponse::default());
    assert!(sent.await.unwrap().is_ok());
}

// R5
#[tokio::test(start_paused = true)]
async fn a_service_that_fails_to_become_ready_after_a_miss_is_the_callers_error() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let (source, mut asked) = mock::pair();
    let mut stack = layer_over(TokenCache::new(credentials(), source)).layer(api);
    let sent = tokio::spawn(stack.ready().await.unwrap().call(put()));
    let (_, reply) = next(&mut asked).await;
    requests.send_error("the connection is gone");
    reply.send_response(hour(1));
    assert_eq!(sent.await.unwrap().unwrap_err().to_string(), "the connection is gone");

    // Before a token is even looked for:
    requests.send_error("gone again");
    assert_eq!(stack.ready().await.unwrap_err().to_string(), "gone again");
}

// R2: beside the two above, an error of the inner service is never dressed up as one of the token.
#[tokio::test(start_paused = true)]
async fn an_error_of_the_replay_itself_is_the_callers_error() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let mut stack = layer_over(TokenCache::new(credentials(), Source::of(hour))).layer(api);
    let sent = tokio::spawn(stack.ready().await.unwrap().call(put()));
    next(&mut requests).await.1.send_response(rejection());
    next(&mut requests).await.1.send_error("reset by peer");
    assert_eq!(sent.await.unwrap().unwrap_err().to_string(), "reset by peer");
}

// R1: it was rejected by somebody else's request in the meantime, and is known to be of no use.
#[tokio::test(start_paused = true)]
async fn a_token_that_is_rejected_while_the_service_is_not_ready_is_not_sent() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let tokens = TokenCache::new(credentials(), Source::of(hour));
    let mut stack = layer_over(tokens.clone()).layer(api);
    requests.allow(1);
    let miss = stack.ready().await.unwrap().call(put());
    requests.allow(0);
    let miss = tokio::spawn(miss);
    settle().await;
    tokens.reject(&tokens.get().await.unwrap());
    requests.allow(1);
    let (request, reply) = next(&mut requests).await;
    assert_eq!(request.headers()["authorization"], "Bearer token-2");
    reply.send_response(HttpResponse::default());
    assert_eq!(miss.await.unwrap().unwrap().status(), StatusCode::OK);
}

// R8: the same before a replay. Sent all the same, it would come back as the answer, and trip the
// breaker of an API that is well.
#[tokio::test(start_paused = true)]
async fn a_token_that_is_rejected_before_its_replay_goes_out_is_not_sent() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let tokens = TokenCache::new(credentials(), Source::of(hour));
    tokens.warm().await.unwrap();
    let mut stack = layer_over(tokens.clone()).layer(api);
    requests.allow(1);
    let sent = tokio::spawn(stack.ready().await.unwrap().call(put()));
    next(&mut requests).await.1.send_response(rejection());
    settle().await;

    let second = tokens.get().await.unwrap();
    assert_eq!(second.secret(), "token-2");
    tokens.reject(&second);
    requests.allow(1);
    let (request, reply) = next(&mut requests).await;
    assert_eq!(request.headers()["authorization"], "Bearer token-3");
    reply.send_response(HttpResponse::default());
    assert_eq!(sent.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_token_error_leaves_the_service_as_it_was() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let source = Source::new(|_, _| async { Err("no".into()) });
    let mut stack = layer_over(TokenCache::new(credentials(), source)).layer(api);
    for _ in 0..3 {
        let error = stack.ready().await.unwrap().call(put()).await.unwrap_err();
        assert_eq!(TokenError::find_in(&*error).unwrap().kind(), TokenErrorKind::Source);
    }
    assert!(requests.poll_request().is_pending());
}
