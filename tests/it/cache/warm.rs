//! C11: tokens that are fetched ahead and kept warm.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::sleep;
use tower::BoxError;
use tower_oauth2::TokenErrorKind;

use crate::support::*;

// C11
#[tokio::test(start_paused = true)]
async fn a_token_can_be_fetched_ahead_of_the_first_request() {
    let source = ScriptedSource::new(|n, _| async move {
        if n == 1 { Err(BoxError::from("down")) } else { Ok(hour(n)) }
    });
    let tokens = tokens(&source);
    tokens.warm().await.unwrap_err();
    sleep(secs(1)).await;
    tokens.warm().await.unwrap();
    tokens.warm().await.unwrap();
    assert_eq!(secret(&tokens).await, "token-2");
    assert_eq!(source.count(), 2);
}

// C11
#[tokio::test(start_paused = true)]
async fn a_token_is_kept_warm_without_traffic() {
    let source = ScriptedSource::tokens(|n| lasting(n, secs(1000)));
    let tokens = tokens(&source);
    tokens.keep_warm().unwrap();
    tokens.keep_warm().unwrap();
    // Renewed every 700 to 800 s.
    sleep(secs(8_050)).await;
    assert!((11..=12).contains(&source.count()), "{}", source.count());
    let before = tokio::time::Instant::now();
    secret(&tokens).await;
    assert_eq!(before.elapsed(), Duration::ZERO);
}

// C11
#[tokio::test(start_paused = true)]
async fn keeping_warm_ends_with_the_last_handle() {
    let source = ScriptedSource::tokens(|n| lasting(n, secs(1000)));
    let tokens = tokens(&source);
    let clone = tokens.clone();
    tokens.keep_warm().unwrap();
    drop(tokens);
    sleep(secs(2000)).await;
    let count = source.count();
    assert!(count > 1, "a clone is a handle too");
    drop(clone);
    sleep(secs(10_000)).await;
    assert_eq!(source.count(), count);
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
}

// C11
#[tokio::test(start_paused = true)]
async fn keeping_warm_survives_failures_and_rejections() {
    let source = ScriptedSource::new(|n, _| async move {
        if n <= 3 { Err(BoxError::from("down")) } else { Ok(lasting(n, secs(1000))) }
    });
    let tokens = tokens(&source);
    tokens.keep_warm().unwrap();
    sleep(secs(60)).await;
    assert_eq!(source.count(), 4);
    tokens.get().await.unwrap().reject();
    settle().await;
    assert_eq!(source.count(), 5, "without a caller");
}

// C11
#[tokio::test(start_paused = true)]
async fn keeping_warm_does_not_spin_on_tokens_without_lifetime() {
    let source = ScriptedSource::tokens(|n| lasting(n, Duration::ZERO));
    let tokens = tokens(&source);
    tokens.keep_warm().unwrap();
    sleep(secs(60)).await;
    assert!(source.count() <= 61, "{}", source.count());
}

// C11
#[tokio::test(start_paused = true)]
async fn keeping_warm_can_be_started_again() {
    let source = ScriptedSource::tokens(|n| lasting(n, secs(1000)));
    let cache = builder(&source).build();
    for round in 1..=3 {
        let tokens = cache.tokens(&tenant(1));
        let before = source.count();
        tokens.keep_warm().unwrap();
        sleep(secs(2000)).await;
        let count = source.count();
        assert!(count > before, "round {round}");
        drop(tokens);
        sleep(secs(10_000)).await;
        assert_eq!(source.count(), count, "round {round}");
        assert_eq!(Handle::current().metrics().num_alive_tasks(), 0, "round {round}");
    }
}

// C11
#[tokio::test(start_paused = true)]
async fn a_handle_that_is_taken_before_the_task_ends_is_kept_warm() {
    let source = ScriptedSource::tokens(|n| lasting(n, secs(1000)));
    let cache = builder(&source).build();
    let tokens = cache.tokens(&tenant(1));
    tokens.keep_warm().unwrap();
    sleep(secs(1)).await;
    drop(tokens);
    // The task has not run since.
    let tokens = cache.tokens(&tenant(1));
    tokens.keep_warm().unwrap();
    sleep(secs(10_000)).await;
    assert!(source.count() > 10, "{}", source.count());
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 1);
    drop(tokens);
}

// C10, C11
#[tokio::test(start_paused = true)]
async fn keeping_warm_outlasts_its_cache_and_ends_with_the_handle() {
    let source = ScriptedSource::tokens(|n| lasting(n, secs(1000)));
    let cache = builder(&source).build();
    let tokens = cache.tokens(&tenant(1));
    tokens.keep_warm().unwrap();
    drop(cache);
    sleep(secs(2000)).await;
    let count = source.count();
    assert!(count > 1);
    drop(tokens);
    settle().await;
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
}

// C11
#[test]
fn keeping_warm_needs_a_runtime() {
    let tokens = tokens(&ScriptedSource::tokens(hour));
    assert_eq!(tokens.keep_warm().unwrap_err().kind(), TokenErrorKind::NoRuntime);
}
