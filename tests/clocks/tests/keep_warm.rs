//! A suspend replaces a token that is kept warm, at most once a second.

use std::time::Duration;

use crate::support::*;

// C5, C11
#[tokio::test(start_paused = true)]
async fn keep_warm_notices_a_suspend_within_ten_seconds() {
    // How long before the suspend the task has last looked at the clocks differs.
    for awake in [1, 3, 10, 17, 600] {
        let server = hourly();
        let tokens = tokens(&server);
        tokens.keep_warm().unwrap();
        pass(awake * SECOND).await;
        assert_eq!(server.count(), 1);
        suspend(61 * MINUTE);
        pass(10 * SECOND).await;
        settle().await;
        assert_eq!(server.count(), 2, "awake for {awake} s before the suspend");
        assert_eq!(get(&tokens).await, "token-2");
    }
}

// C5, C11
#[tokio::test(start_paused = true)]
async fn each_handle_that_is_kept_warm_notices_a_suspend() {
    let server = hourly();
    let cache = builder(&server).build();
    let tokens = ["one", "other"].map(|scope| cache.tokens(&credentials().scope(scope)));
    tokens.iter().for_each(|tokens| tokens.keep_warm().unwrap());
    pass(MINUTE).await;
    suspend(61 * MINUTE);
    pass(10 * SECOND).await;
    settle().await;
    assert_eq!(server.count(), 4);
}

// C5, C11
#[tokio::test(start_paused = true)]
async fn keep_warm_renews_as_usual_when_the_clock_is_set_back() {
    let server = hourly();
    let tokens = tokens(&server);
    tokens.keep_warm().unwrap();
    pass(SECOND).await;
    manual_wall_clock::set_back(DAY);
    pass(10 * HOUR).await;
    // A renewal every 49 to 55 minutes.
    assert!((11..=13).contains(&server.count()), "{}", server.count());
}

// C6, C11
#[tokio::test(start_paused = true)]
async fn keep_warm_requests_at_most_one_token_a_second() {
    for lifetime in [1, 10, 100, 900] {
        let server = ScriptedEndpoint::new(move |n| lasting(n, Duration::from_millis(lifetime)));
        let tokens = tokens(&server);
        tokens.keep_warm().unwrap();
        pass(60 * SECOND).await;
        let count = server.count();
        assert!((2..=61).contains(&count), "{count} token requests for {lifetime} ms");
    }
}

// C6, C11
#[tokio::test(start_paused = true)]
async fn callers_get_a_token_although_it_lives_for_a_millisecond() {
    let server = ScriptedEndpoint::new(|n| lasting(n, Duration::from_millis(1)));
    let tokens = tokens(&server);
    tokens.keep_warm().unwrap();
    for _ in 0..100 {
        tokens.get().await.unwrap();
        pass(Duration::from_millis(100)).await;
    }
    // Ten callers a second, and the keep-warm task.
    assert!((90..=111).contains(&server.count()), "{}", server.count());
}
