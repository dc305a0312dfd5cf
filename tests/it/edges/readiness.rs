//! R5: requests that wait for their API longer than their token lives.

use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::Full;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tower::{BoxError, Service, ServiceExt};
use tower_oauth2::{OAuth2Layer, Origins};
use tower_test::mock;

use crate::support::*;

type Body = Full<Bytes>;
type Calls = mock::Handle<Request<Body>, Response<Body>>;
type Sent = JoinHandle<Result<Response<Body>, BoxError>>;

/// Starts a request that has its token and waits until the API is ready.
async fn waiting_for_api(source: &ScriptedSource) -> (Calls, Sent) {
    let (mock, mut calls) = mock::pair::<Request<Body>, Response<Body>>();
    let origins = Origins::only(["https://api.test"]).unwrap();
    let mut api = OAuth2Layer::new(tokens(source), origins).layer(mock);
    calls.allow(1);
    let service = api.ready().await.unwrap();
    calls.allow(0);
    let sent = tokio::spawn(service.call(get("/")));
    settle().await;
    assert_eq!(source.count(), 1);
    (calls, sent)
}

/// Makes the API ready, and returns the token that it receives.
async fn sent_token((mut calls, sent): (Calls, Sent)) -> String {
    calls.allow(1);
    let call = timeout(secs(3600), calls.next_request()).await.expect("nothing was sent");
    let (request, reply) = call.unwrap();
    reply.send_response(Response::default());
    sent.await.unwrap().unwrap();
    request.headers()[AUTHORIZATION].to_str().unwrap().to_owned()
}

// R5, C5
#[tokio::test(start_paused = true)]
async fn a_token_that_ended_while_the_api_was_not_ready_is_not_sent() {
    // A token of 100 s is handed out for 90 s.
    for (wait, token) in [(1, 1), (69, 1), (91, 2), (1000, 2)] {
        let source = ScriptedSource::tokens(|n| lasting(n, secs(100)));
        let request = waiting_for_api(&source).await;
        sleep(secs(wait)).await;
        assert_eq!(sent_token(request).await, format!("Bearer token-{token}"), "{wait} s");
        assert_eq!(source.count(), token);
    }
}

// R5, C5
#[tokio::test(start_paused = true)]
async fn tokens_without_lifetime_do_not_block_a_request() {
    for wait in [0, 1, 1000] {
        let source = ScriptedSource::tokens(|n| lasting(n, Duration::ZERO));
        let request = waiting_for_api(&source).await;
        sleep(secs(wait)).await;
        let sent_with = sent_token(request).await;
        assert!(source.count() <= 3, "{wait} s: {}", source.count());
        assert_eq!(sent_with, format!("Bearer token-{}", source.count()), "{wait} s");
    }
}
