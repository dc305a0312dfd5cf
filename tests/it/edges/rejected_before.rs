//! A request that has its token, and waits while that token and its successors are rejected.

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::Full;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_oauth2::{Credentials, OAuth2Layer, Origins, TokenCache, TokenError, TokenErrorKind};
use tower_test::mock;

use super::{builder, secs};
use crate::support::*;

type Body = Full<Bytes>;
type Calls = mock::Handle<Request<Body>, Response<Body>>;
type Sent = JoinHandle<Result<Response<Body>, BoxError>>;

/// Starts a request that gets `token-1` and then waits for an API that is not ready.
async fn waiting_with_first_token(
    cache: &TokenCache,
    named: Option<&Credentials>,
) -> (Calls, Sent) {
    let (mock, mut calls) = mock::pair::<Request<Body>, Response<Body>>();
    let origins = Origins::only(["https://api.test"]).unwrap();
    let mut api = OAuth2Layer::new(cache.clone(), origins).layer(mock);
    calls.allow(1);
    let service = api.ready().await.unwrap();
    calls.allow(0);
    let mut request = get("/");
    if let Some(named) = named {
        request.extensions_mut().insert(named.clone());
    }
    let sent = tokio::spawn(service.call(request));
    settle().await;
    (calls, sent)
}

/// Lets the API become ready, and returns the token that it gets.
async fn sent_token((mut calls, sent): (Calls, Sent)) -> String {
    calls.allow(1);
    let call = timeout(secs(3600), calls.next_request()).await.expect("nothing was sent");
    let (request, reply) = call.unwrap();
    reply.send_response(Response::default());
    sent.await.unwrap().unwrap();
    request.headers()[AUTHORIZATION].to_str().unwrap().to_owned()
}

async fn get_and_reject(cache: &TokenCache, named: Option<&Credentials>, n: usize) {
    let token = match named {
        Some(named) => cache.get_for(named).await.unwrap(),
        None => cache.get().await.unwrap(),
    };
    assert_eq!(token.secret(), format!("token-{n}"));
    cache.reject(&token);
}

// C8, R5
#[tokio::test(start_paused = true)]
async fn a_token_rejected_several_tokens_ago_is_not_sent() {
    let tenant = credentials().audience("tenant");
    for named in [None, Some(&tenant)] {
        for rejected in 1..=4 {
            let source = Source::of(hour);
            let cache = builder(&source).build();
            let request = waiting_with_first_token(&cache, named).await;
            for n in 1..=rejected {
                get_and_reject(&cache, named, n).await;
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
    let source = Source::new(|n, _| async move {
        if n <= 2 { Ok(hour(n)) } else { Err(BoxError::from("down")) }
    });
    let cache = builder(&source).build();
    let (mut calls, sent) = waiting_with_first_token(&cache, None).await;
    for n in 1..=2 {
        get_and_reject(&cache, None, n).await;
    }
    calls.allow(1);
    let error = timeout(secs(60), sent).await.expect("the request was sent").unwrap().unwrap_err();
    assert_eq!(TokenError::find_in(&*error).unwrap().kind(), TokenErrorKind::Source);
}

// C8, R5
#[tokio::test(start_paused = true)]
async fn a_token_older_than_a_rejected_one_is_not_sent() {
    let source = Source::of(|n| lasting(n, secs(1000)));
    let cache = builder(&source).build();
    let request = waiting_with_first_token(&cache, None).await;
    tokio::time::advance(secs(801)).await;
    cache.get().await.unwrap();
    settle().await;
    // The renewal replaced `token-1`, and its successor was rejected.
    get_and_reject(&cache, None, 2).await;
    assert_eq!(sent_token(request).await, "Bearer token-3");
}
