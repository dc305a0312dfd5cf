//! A wall clock that is set back has no effect. One that is set forward costs one token request.

use tower_oauth2_clocks::Tokens;

use crate::support::*;

/// Checks that a new token is used for an hour by the monotonic clock. It is then replaced once.
async fn check_ordinary_life(server: &ScriptedEndpoint, tokens: &Tokens) {
    let (token, count) = (get(tokens).await, server.count());
    for _ in 0..USABLE.as_secs() / 10 - 1 {
        pass(10 * SECOND).await;
        assert_eq!(get(tokens).await, token);
    }
    assert_eq!(server.count(), count);
    pass(10 * SECOND).await;
    assert_ne!(get(tokens).await, token);
    assert_eq!(server.count(), count + 1);
}

// C5
#[tokio::test(start_paused = true)]
async fn a_clock_set_back_costs_no_token_request() {
    let server = hourly();
    let tokens = tokens_without_renewal(&server);
    get(&tokens).await;
    manual_wall_clock::set_back(DAY);
    check_ordinary_life(&server, &tokens).await;
    check_ordinary_life(&server, &tokens).await;
}

// C5
#[tokio::test(start_paused = true)]
async fn tokens_end_by_the_monotonic_clock_if_the_other_is_set_back() {
    let server = hourly();
    let tokens = tokens_without_renewal(&server);
    get(&tokens).await;
    pass(USABLE - SECOND).await;
    manual_wall_clock::set_back(DAY);
    assert_eq!(get(&tokens).await, "token-1");
    pass(SECOND).await;
    assert_eq!(get(&tokens).await, "token-2");
    assert_eq!(server.count(), 2);
}

// C5
#[tokio::test(start_paused = true)]
async fn a_clock_set_back_and_forth_costs_no_token_request() {
    let server = hourly();
    let tokens = tokens_without_renewal(&server);
    get(&tokens).await;
    for _ in 0..10 {
        manual_wall_clock::set_back(DAY);
        pass(MINUTE).await;
        assert_eq!(get(&tokens).await, "token-1");
        manual_wall_clock::advance(DAY);
        pass(MINUTE).await;
        assert_eq!(get(&tokens).await, "token-1");
    }
    assert_eq!(server.count(), 1);
    pass(USABLE - 20 * MINUTE).await;
    assert_eq!(get(&tokens).await, "token-2");
}

// C5
#[tokio::test(start_paused = true)]
async fn an_ended_token_stays_ended_when_the_clock_is_set_back() {
    let server = ScriptedEndpoint::new(|n| if n == 2 { refused() } else { hour(n) });
    let tokens = tokens_without_renewal(&server);
    get(&tokens).await;
    manual_wall_clock::advance(DAY);
    pass(WALL_CLOCK_INTERVAL).await;
    tokens.get().await.unwrap_err();
    manual_wall_clock::set_back(DAY);
    // By then the failure is no longer remembered.
    pass(10 * SECOND).await;
    assert_eq!(get(&tokens).await, "token-3");
}

// C5
#[tokio::test(start_paused = true)]
async fn a_clock_set_forward_costs_one_token_request() {
    let server = hourly();
    let tokens = tokens_without_renewal(&server);
    // A machine without a battery for its clock boots in 1977, and NTP sets the clock later.
    manual_wall_clock::set_back(50 * 365 * DAY);
    get(&tokens).await;
    pass(MINUTE).await;
    manual_wall_clock::advance(50 * 365 * DAY);
    pass(WALL_CLOCK_INTERVAL).await;
    assert_eq!(get(&tokens).await, "token-2");
    assert_eq!(server.count(), 2);
    check_ordinary_life(&server, &tokens).await;
}

// C5
#[tokio::test(start_paused = true)]
async fn a_clock_set_forward_while_a_token_is_fetched_costs_one_more() {
    let server = ScriptedEndpoint::new(|n| match n {
        1 => hour(n).after(SECOND),
        _ => hour(n),
    });
    let tokens = tokens_without_renewal(&server);
    let caller = tokio::spawn({
        let tokens = tokens.clone();
        async move { tokens.get().await }
    });
    settle().await;
    manual_wall_clock::advance(50 * 365 * DAY);
    caller.await.unwrap().unwrap();
    assert_eq!(get(&tokens).await, "token-2");
    assert_eq!(server.count(), 2);
    check_ordinary_life(&server, &tokens).await;
}

// C5
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_corrected_by_seconds_changes_nothing() {
    let server = hourly();
    let tokens = tokens_without_renewal(&server);
    get(&tokens).await;
    for _ in 0..10 {
        manual_wall_clock::advance(SECOND);
        pass(MINUTE).await;
        manual_wall_clock::set_back(SECOND);
        pass(MINUTE).await;
        assert_eq!(get(&tokens).await, "token-1");
    }
    assert_eq!(server.count(), 1);
}
