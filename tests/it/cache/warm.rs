use std::time::Duration;

use tokio::time::sleep;
use tower::BoxError;
use tower_oauth2::{AccessToken, TokenErrorKind};

use super::{builder, secret, secs};
use crate::support::*;

// C11
#[tokio::test(start_paused = true)]
async fn a_token_can_be_fetched_ahead_of_the_first_request() {
    let source = Source::new(|n, _| async move {
        if n == 1 { Err(BoxError::from("down")) } else { Ok(hour(n)) }
    });
    let cache = builder(&source).build();
    cache.warm().await.unwrap_err();
    sleep(secs(1)).await;
    cache.warm().await.unwrap();
    cache.warm().await.unwrap();
    assert_eq!(secret(&cache).await, "token-2");
    assert_eq!(source.count(), 2);
}

// C11
#[tokio::test(start_paused = true)]
async fn a_token_is_kept_warm_without_traffic() {
    let source = Source::of(|n| lasting(n, secs(1000)));
    let cache = builder(&source).build();
    cache.keep_warm().unwrap();
    cache.keep_warm().unwrap();
    // Renewed every 700 to 800 s.
    sleep(secs(8_050)).await;
    assert!((11..=12).contains(&source.count()), "{}", source.count());
    let before = tokio::time::Instant::now();
    secret(&cache).await;
    assert_eq!(before.elapsed(), Duration::ZERO);
}

// C11
#[tokio::test(start_paused = true)]
async fn keeping_warm_ends_with_the_last_handle() {
    let source = Source::of(|n| lasting(n, secs(1000)));
    let cache = builder(&source).build();
    let clone = cache.clone();
    cache.keep_warm().unwrap();
    drop(cache);
    sleep(secs(2000)).await;
    let count = source.count();
    assert!(count > 1, "a clone is a handle too");
    drop(clone);
    sleep(secs(10_000)).await;
    assert_eq!(source.count(), count);
    let metrics = tokio::runtime::Handle::current().metrics();
    assert_eq!(metrics.num_alive_tasks(), 0, "no task is left behind");
}

// C11
#[tokio::test(start_paused = true)]
async fn keeping_warm_survives_failures_and_replaces_what_was_rejected() {
    let source = Source::new(|n, _| async move {
        if n <= 3 { Err(BoxError::from("down")) } else { Ok(lasting(n, secs(1000))) }
    });
    let cache = builder(&source).build();
    cache.keep_warm().unwrap();
    sleep(secs(60)).await;
    assert_eq!(source.count(), 4);
    cache.reject(&cache.get().await.unwrap());
    settle().await;
    assert_eq!(source.count(), 5, "no caller asked for it");
}

// C11
#[tokio::test(start_paused = true)]
async fn keeping_warm_does_not_spin_on_tokens_that_are_gone_at_once() {
    let source = Source::of(|n| lasting(n, Duration::ZERO));
    let cache = builder(&source).build();
    cache.keep_warm().unwrap();
    sleep(secs(60)).await;
    assert!(source.count() <= 61, "{}", source.count());
}

// C11
#[tokio::test(start_paused = true)]
async fn other_credentials_are_kept_warm_until_they_are_removed() {
    let source = Source::of(|n| lasting(n, secs(1000)));
    let cache = builder(&source).build();
    let other = credentials().scope("other");
    cache.keep_warm_for(&other).unwrap();
    sleep(secs(2000)).await;
    let count = source.count();
    assert!(count > 1);
    cache.remove(&other);
    sleep(secs(10_000)).await;
    assert_eq!(source.count(), count);
}

// C11
#[test]
fn keeping_warm_needs_a_runtime() {
    let cache = builder(&Source::of(|_| AccessToken::new("t").unwrap())).build();
    assert_eq!(cache.keep_warm().unwrap_err().kind(), TokenErrorKind::NoRuntime);
}
