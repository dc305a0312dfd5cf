//! Tokens that are always the same.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::time::advance;
use tower_oauth2::replay::{NotReplayed, Replayed};
use tower_oauth2::{AccessToken, CachedToken, TokenError, Tokens};

use crate::support::*;

fn fixed() -> Tokens {
    Tokens::fixed(AccessToken::new("t").unwrap())
}

/// Polls once, where there is no runtime.
fn get_without_runtime(tokens: &Tokens) -> Result<CachedToken, TokenError> {
    match pin!(tokens.get()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("waits"),
    }
}

// C1
#[test]
fn a_fixed_token_needs_no_runtime() {
    let tokens = fixed();
    assert!(tokens.status().is_usable());
    for _ in 0..2 {
        assert_eq!(get_without_runtime(&tokens).unwrap().secret(), "t");
    }
}

// C8
#[test]
fn a_rejected_fixed_token_is_still_returned() {
    let tokens = fixed();
    for _ in 0..3 {
        get_without_runtime(&tokens).unwrap().reject();
        assert_eq!(get_without_runtime(&tokens).unwrap().secret(), "t");
        assert!(tokens.status().is_usable());
    }
}

// C5
#[tokio::test(start_paused = true)]
async fn a_fixed_token_is_returned_after_its_end() {
    let tokens = Tokens::fixed(AccessToken::new("t").unwrap().with_expires_in(secs(10)));
    for _ in 0..5 {
        assert_eq!(secret(&tokens).await, "t");
        advance(secs(5)).await;
    }
    let status = tokens.status();
    assert_eq!((status.is_usable(), status.time_left(), status.renews_in()), (true, None, None));
}

// R1, R6
#[tokio::test(start_paused = true)]
async fn a_401_for_a_fixed_token_is_returned_at_once() {
    let tokens = fixed();
    let (api, layer) = (Api::always(401), layer(&tokens));
    for n in 1..=20 {
        let response = layer.layer(api.clone()).send(get("/")).await.unwrap();
        assert_eq!((response.status().as_u16(), api.count()), (401, n));
        let mark = response.extensions().get();
        assert_eq!(mark, Some(&Replayed::No(NotReplayed::FixedToken)));
        advance(secs(1)).await;
    }
    assert_eq!(api.tokens(), ["t"; 20]);
    assert!(tokens.status().is_usable());
}

// R1
#[test]
fn a_request_with_a_fixed_token_needs_no_runtime() {
    for status in [200, 401] {
        let service = layer(&fixed()).layer(Api::always(status));
        let sent = pin!(service.send(get("/"))).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(response) = sent else { panic!("waits") };
        assert_eq!(response.unwrap().status(), status);
    }
}

// C11
#[tokio::test(start_paused = true)]
async fn fixed_tokens_can_be_kept_warm_and_never_change() {
    let tokens = fixed();
    tokens.keep_warm().unwrap();
    let mut changes = tokens.changes();
    assert_eq!(changes.next().await.unwrap().secret(), "t");
    assert!(tokio::time::timeout(secs(3600), changes.next()).await.is_err());
}
