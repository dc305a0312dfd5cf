//! Token requests that are under way when the host is suspended.

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower_oauth2_clocks::{TokenError, TokenErrorKind, Tokens};

use crate::support::*;

/// Starts a caller of `get`, and lets it run until it waits.
async fn waiting_caller(tokens: &Tokens) -> JoinHandle<Result<String, TokenError>> {
    let tokens = tokens.clone();
    let caller =
        tokio::spawn(async move { tokens.get().await.map(|token| token.secret().to_owned()) });
    settle().await;
    caller
}

// C5
#[tokio::test(start_paused = true)]
async fn a_waiting_caller_notices_a_suspend_within_ten_seconds() {
    let server = ScriptedEndpoint::new(|n| if n == 1 { Reply::no_response() } else { hour(n) });
    let tokens = tokens(&server);
    let caller = waiting_caller(&tokens).await;
    pass(SECOND).await;
    suspend(61 * MINUTE);
    let token = timeout(10 * SECOND, caller).await.expect("the old connection is dead");
    assert_eq!(token.unwrap().unwrap(), "token-2");
    assert_eq!(server.count(), 2);
}

// C5
#[tokio::test(start_paused = true)]
async fn a_caller_that_waits_for_a_renewal_notices_a_suspend() {
    let server = ScriptedEndpoint::new(|n| if n == 2 { Reply::no_response() } else { hour(n) });
    let tokens = tokens(&server);
    get(&tokens).await;
    // An hour's token is due after 49 to 55 minutes.
    pass(56 * MINUTE).await;
    assert_eq!(get(&tokens).await, "token-1");
    settle().await;
    assert_eq!(server.count(), 2, "the renewal has begun");
    suspend(10 * MINUTE);
    pass(WALL_CLOCK_INTERVAL).await;
    let caller = waiting_caller(&tokens).await;
    let token = timeout(10 * SECOND, caller).await.expect("the old connection is dead");
    assert_eq!(token.unwrap().unwrap(), "token-3");
    assert_eq!(server.count(), 3);
}

// C5, C9
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_down_after_a_suspend_fails_the_caller() {
    let server = ScriptedEndpoint::new(|_| Reply::no_response());
    let tokens = tokens(&server);
    let caller = waiting_caller(&tokens).await;
    suspend(61 * MINUTE);
    let error = timeout(MINUTE, caller).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::Timeout);
    assert_eq!(server.count(), 2, "one fresh attempt");
}

// C5
#[tokio::test(start_paused = true)]
async fn a_lifetime_counts_from_a_request_before_the_suspend() {
    let server = ScriptedEndpoint::new(|n| hour(n).after(2 * SECOND));
    let tokens = tokens_without_renewal(&server);
    let caller = waiting_caller(&tokens).await;
    pass(SECOND).await;
    suspend(30 * MINUTE);
    assert_eq!(caller.await.unwrap().unwrap(), "token-1");
    // Two seconds have passed on the monotonic clock.
    pass(USABLE - 30 * MINUTE - 3 * SECOND).await;
    assert_eq!(get(&tokens).await, "token-1");
    pass(SECOND).await;
    assert_eq!(get(&tokens).await, "token-2");
    assert_eq!(server.count(), 2);
}

// C5, C7
#[tokio::test(start_paused = true)]
async fn a_token_requested_long_before_it_arrives_is_not_kept() {
    let server = ScriptedEndpoint::new(|n| match n {
        1 => hour(n).after(2 * SECOND),
        _ => hour(n),
    });
    let tokens = tokens_without_renewal(&server);
    let caller = waiting_caller(&tokens).await;
    pass(SECOND).await;
    suspend(61 * MINUTE);
    caller.await.unwrap().unwrap();
    assert_eq!(get(&tokens).await, "token-2");
    assert_eq!(server.count(), 2);
    pass(USABLE - SECOND).await;
    assert_eq!(get(&tokens).await, "token-2");
}

// C5, C6
#[tokio::test(start_paused = true)]
async fn a_renewal_before_the_suspend_brings_no_longer_life() {
    let server = ScriptedEndpoint::new(|n| match n {
        2 => hour(n).after(2 * SECOND),
        _ => hour(n),
    });
    let tokens = tokens(&server);
    get(&tokens).await;
    // An hour's token is due after 49 to 55 minutes.
    pass(56 * MINUTE).await;
    assert_eq!(get(&tokens).await, "token-1");
    settle().await;
    assert_eq!(server.count(), 2, "the renewal has begun");
    suspend(58 * MINUTE);
    pass(WALL_CLOCK_INTERVAL).await;
    assert_eq!(get(&tokens).await, "token-2", "the caller waited for the renewal");
    // The renewal's token has less than two minutes left.
    pass(2 * MINUTE).await;
    assert_eq!(get(&tokens).await, "token-3");
}
