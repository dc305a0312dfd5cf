//! A process that was frozen: both clocks jump while no task runs (C9).
//!
//! The connection of a token request that was under way is dead after the thaw. The request then
//! times out, which says nothing about the token endpoint.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tower::ServiceExt;
use tower_oauth2_clocks::{OAuth2Layer, Origins, TokenError, TokenErrorKind, Tokens};

use crate::support::*;

/// The timeout of a token request.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Returns tokens with `token-1`, which lives for an hour, while its renewal runs.
async fn renewing_tokens(server: &ScriptedEndpoint) -> Tokens {
    let tokens = tokens(server);
    get(&tokens).await;
    // An hour's token is due after 49 to 55 minutes.
    pass(56 * MINUTE).await;
    assert_eq!(get(&tokens).await, "token-1");
    settle().await;
    assert_eq!(server.count(), 2, "the renewal has begun");
    tokens
}

/// Starts a caller of `get` that asks after `delay`.
fn caller(tokens: &Tokens, delay: Duration) -> JoinHandle<Result<String, TokenError>> {
    let tokens = tokens.clone();
    tokio::spawn(async move {
        sleep(delay).await;
        tokens.get().await.map(|token| token.secret().to_owned())
    })
}

// C9
#[tokio::test(start_paused = true)]
async fn a_caller_after_the_thaw_gets_a_token_and_no_timeout() {
    // After the thaw, timers fire in the order of their deadlines: the caller asks before or after
    // the renewal times out.
    for delay in [Duration::from_millis(1), 9 * MINUTE] {
        let server = ScriptedEndpoint::in_order([hour(1), Reply::no_response(), hour(3)]);
        let tokens = renewing_tokens(&server).await;
        let caller = caller(&tokens, delay);
        settle().await;
        freeze(10 * MINUTE).await;
        let thawed = Instant::now();
        assert_eq!(caller.await.unwrap().unwrap(), "token-3");
        assert!(thawed.elapsed() < SECOND, "the caller waits for no old connection");
        assert_eq!(get(&tokens).await, "token-3");
        assert_eq!(server.count(), 3);
    }
}

// C9
#[tokio::test(start_paused = true)]
async fn a_request_after_the_thaw_is_sent_with_a_new_token() {
    let (server, api) =
        (ScriptedEndpoint::in_order([hour(1), Reply::no_response(), hour(3)]), api());
    let tokens = renewing_tokens(&server).await;
    let service = OAuth2Layer::new(tokens, Origins::any()).layer(api.clone());
    freeze(10 * MINUTE).await;
    service.oneshot(request()).await.unwrap();
    assert_eq!(api.tokens(), ["token-3"]);
    assert_eq!(server.count(), 3);
}

// C9
#[tokio::test(start_paused = true)]
async fn a_caller_frozen_while_it_waits_for_a_renewal_gets_a_token() {
    let server = ScriptedEndpoint::in_order([hour(1), Reply::no_response(), hour(3)]);
    let tokens = tokens(&server);
    get(&tokens).await;
    // The renewal begins, and the token ends before the renewal times out.
    pass(USABLE - SECOND).await;
    assert_eq!(get(&tokens).await, "token-1");
    pass(2 * SECOND).await;
    let caller = caller(&tokens, Duration::ZERO);
    settle().await;
    assert_eq!(server.count(), 2, "the caller waits for the renewal");
    freeze(10 * MINUTE).await;
    assert_eq!(caller.await.unwrap().unwrap(), "token-3");
    assert_eq!(server.count(), 3);
}

// C9
#[tokio::test(start_paused = true)]
async fn callers_frozen_during_the_first_fetch_get_a_token() {
    // The endpoint's timeout and the cache's.
    for fetch_timeout in [10 * MINUTE, TIMEOUT / 2] {
        let server = ScriptedEndpoint::in_order([Reply::no_response(), hour(2)]);
        let tokens = builder(&server).fetch_timeout(fetch_timeout).build().tokens(&credentials());
        let callers = [(); 3].map(|()| caller(&tokens, Duration::ZERO));
        settle().await;
        freeze(HOUR).await;
        for caller in callers {
            assert_eq!(caller.await.unwrap().unwrap(), "token-2");
        }
        assert_eq!(server.count(), 2);
    }
}

// C9
#[tokio::test(start_paused = true)]
async fn a_frozen_fetch_without_waiters_is_not_remembered_as_failed() {
    let server = ScriptedEndpoint::in_order([Reply::no_response(), hour(2)]);
    let tokens = tokens(&server);
    let caller = caller(&tokens, Duration::ZERO);
    settle().await;
    caller.abort();
    settle().await;
    freeze(HOUR).await;
    assert!(get(&tokens).await.starts_with("token-"));
    assert_eq!(server.count(), 2);
}

// C9
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_down_fails_after_one_fresh_attempt() {
    for (down, kind) in
        [(Reply::no_response(), TokenErrorKind::Timeout), (refused(), TokenErrorKind::Transport)]
    {
        let server = ScriptedEndpoint::in_order([hour(1), Reply::no_response(), down]);
        let tokens = renewing_tokens(&server).await;
        freeze(10 * MINUTE).await;
        let thawed = Instant::now();
        assert_eq!(tokens.get().await.unwrap_err().kind(), kind);
        assert!(thawed.elapsed() <= TIMEOUT + SECOND);
        assert_eq!(server.count(), 3);
        // The failure is remembered.
        assert_eq!(tokens.get().await.unwrap_err().kind(), kind);
        settle().await;
        assert_eq!(server.count(), 3);
    }
}

// C9
#[tokio::test(start_paused = true)]
async fn a_first_fetch_fails_after_one_more_if_the_endpoint_is_down() {
    for (down, kind) in
        [(Reply::no_response(), TokenErrorKind::Timeout), (refused(), TokenErrorKind::Transport)]
    {
        let server = ScriptedEndpoint::in_order([Reply::no_response(), down]);
        let tokens = tokens(&server);
        let caller = caller(&tokens, Duration::ZERO);
        settle().await;
        freeze(10 * MINUTE).await;
        assert_eq!(caller.await.unwrap().unwrap_err().kind(), kind);
        assert_eq!(server.count(), 2);
        assert_eq!(tokens.get().await.unwrap_err().kind(), kind);
        settle().await;
        assert_eq!(server.count(), 2);
    }
}

// C9
#[tokio::test(start_paused = true)]
async fn a_timeout_without_a_freeze_is_an_error_at_once() {
    let server = ScriptedEndpoint::in_order([Reply::no_response()]);
    let tokens = tokens(&server);
    let start = Instant::now();
    let error = caller(&tokens, Duration::ZERO).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::Timeout);
    assert_eq!((start.elapsed().as_secs(), server.count()), (TIMEOUT.as_secs(), 1));
}

// C9
#[tokio::test(start_paused = true)]
async fn a_renewal_that_times_out_after_the_end_is_repeated_once() {
    for (last, outcome) in [(hour(3), Ok("token-3")), (refused(), Err(()))] {
        let server = ScriptedEndpoint::in_order([hour(1), Reply::no_response(), last]);
        let tokens = tokens(&server);
        get(&tokens).await;
        pass(USABLE - SECOND).await;
        assert_eq!(get(&tokens).await, "token-1");
        pass(2 * SECOND).await;
        let token = tokens.get().await;
        let token = token.as_ref().map(|token| token.secret()).map_err(drop);
        assert_eq!(token, outcome);
        assert_eq!(server.count(), 3);
    }
}
