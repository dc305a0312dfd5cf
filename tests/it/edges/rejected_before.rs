//! A request waits with its token while that token and its successors are rejected.

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::Full;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower::{BoxError, Service, ServiceExt};
use tower_oauth2::{OAuth2Layer, Origins, RequestExt, TokenError, TokenErrorKind, Tokens};
use tower_test::mock;

use crate::support::*;

type Body = Full<Bytes>;
type Calls = mock::Handle<Request<Body>, Response<Body>>;
type Sent = JoinHandle<Result<Response<Body>, BoxError>>;

/// Starts a request that has `token-1` and waits until the API is ready.
async fn waiting_with_first_token(tokens: &Tokens, layer: OAuth2Layer) -> (Calls, Sent) {
    let (mock, mut calls) = mock::pair::<Request<Body>, Response<Body>>();
    let mut api = layer.layer(mock);
    calls.allow(1);
    let service = api.ready().await.unwrap();
    calls.allow(0);
    let sent = tokio::spawn(service.call(get("/").tokens(tokens)));
    settle().await;
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

async fn get_and_reject(tokens: &Tokens, n: usize) {
    let token = tokens.get().await.unwrap();
    assert_eq!(token.secret(), format!("token-{n}"));
    token.reject();
}

// C8, R5
#[tokio::test(start_paused = true)]
async fn a_token_rejected_several_tokens_ago_is_not_sent() {
    for is_per_request in [false, true] {
        for rejected in 1..=4 {
            let source = ScriptedSource::tokens(hour);
            let tokens = tokens(&source);
            let layer = match is_per_request {
                true => OAuth2Layer::per_request(Origins::any()),
                false => layer(&tokens),
            };
            let request = waiting_with_first_token(&tokens, layer).await;
            for n in 1..=rejected {
                get_and_reject(&tokens, n).await;
            }
            let next = format!("Bearer token-{}", rejected + 1);
            assert_eq!(sent_token(request).await, next, "{rejected} tokens were rejected");
            assert_eq!(source.count(), rejected + 1);
        }
    }
}

// C8, R5
#[tokio::test(start_paused = true)]
async fn a_token_rejected_two_tokens_ago_is_not_sent_in_an_outage() {
    let source = ScriptedSource::new(|n, _| async move {
        if n <= 2 { Ok(hour(n)) } else { Err(BoxError::from("down")) }
    });
    let tokens = tokens(&source);
    let (mut calls, sent) = waiting_with_first_token(&tokens, layer(&tokens)).await;
    for n in 1..=2 {
        get_and_reject(&tokens, n).await;
    }
    calls.allow(1);
    let error = timeout(secs(60), sent).await.expect("the request was sent").unwrap().unwrap_err();
    assert_eq!(TokenError::find_in(&*error).unwrap().kind(), TokenErrorKind::Source);
}

// C8, R5
#[tokio::test(start_paused = true)]
async fn a_token_older_than_a_rejected_one_is_not_sent() {
    let source = ScriptedSource::tokens(|n| lasting(n, secs(1000)));
    let tokens = tokens(&source);
    let request = waiting_with_first_token(&tokens, layer(&tokens)).await;
    tokio::time::advance(secs(801)).await;
    tokens.get().await.unwrap();
    settle().await;
    // The renewal replaced `token-1`, and its successor was rejected.
    get_and_reject(&tokens, 2).await;
    assert_eq!(sent_token(request).await, "Bearer token-3");
}
