//! The state that a handle shows.

use std::time::Duration;

use tokio::time::{advance, sleep};
use tower::BoxError;
use tower_oauth2::{AccessToken, TokenErrorKind};

use crate::support::*;

// C1
#[tokio::test(start_paused = true)]
async fn a_new_slot_has_no_token_and_no_error() {
    let source = ScriptedSource::tokens(hour);
    let status = tokens(&source).status();
    assert!(!status.is_usable() && !status.is_fetching());
    assert!(status.token().is_none() && status.error().is_none());
    assert_eq!((status.time_left(), status.renews_in()), (None, None));
    settle().await;
    assert_eq!(source.count(), 0, "status() fetches nothing");
}

// C5, C6
#[tokio::test(start_paused = true)]
async fn status_shows_the_time_until_renewal_and_expiry() {
    let source = ScriptedSource::tokens(|n| lasting(n, secs(1000)));
    let tokens = tokens(&source);
    tokens.get().await.unwrap();
    advance(secs(100)).await;
    let status = tokens.status();
    assert!(status.is_usable() && !status.is_fetching());
    assert_eq!(status.token().unwrap().secret(), "token-1");
    // The expiry margin is 10 s.
    assert_eq!(status.time_left(), Some(secs(890)));
    let renews_in = status.renews_in().unwrap();
    assert!((secs(600)..=secs(700)).contains(&renews_in), "{renews_in:?}");

    advance(secs(700)).await;
    let status = tokens.status();
    assert_eq!(status.renews_in(), Some(Duration::ZERO), "due");
    assert!(status.is_usable());
    advance(secs(190)).await;
    let status = tokens.status();
    assert!(!status.is_usable(), "expired");
    assert_eq!((status.time_left(), status.renews_in()), (None, None));
    settle().await;
    assert_eq!(source.count(), 1, "status() starts no renewal");
}

// C7
#[tokio::test(start_paused = true)]
async fn a_token_without_an_end_has_no_time_left() {
    let source = ScriptedSource::tokens(|_| AccessToken::new("t").unwrap());
    let tokens = tokens(&source);
    tokens.get().await.unwrap();
    let status = tokens.status();
    assert_eq!((status.is_usable(), status.time_left()), (true, None));
    assert_eq!(status.renews_in(), None);
}

// C6
#[tokio::test(start_paused = true)]
async fn a_token_that_is_not_renewed_ahead_has_no_renewal() {
    let source = ScriptedSource::tokens(|n| lasting(n, secs(1000)));
    let tokens = super::without_renewal(&source);
    tokens.get().await.unwrap();
    advance(secs(100)).await;
    let status = tokens.status();
    assert_eq!((status.time_left(), status.renews_in()), (Some(secs(890)), None));
}

// C2, C6
#[tokio::test(start_paused = true)]
async fn status_shows_running_token_requests() {
    let source = ScriptedSource::new(|n, _| async move {
        sleep(secs(5)).await;
        Ok(lasting(n, secs(1000)))
    });
    let tokens = tokens(&source);
    let mut caller = tokio_test::task::spawn(tokens.get());
    assert!(caller.poll().is_pending());
    let status = tokens.status();
    assert_eq!((status.is_fetching(), status.is_usable()), (true, false));
    caller.await.unwrap();
    assert!(!tokens.status().is_fetching());

    advance(secs(800)).await;
    tokens.get().await.unwrap();
    let status = tokens.status();
    assert_eq!((status.is_fetching(), status.is_usable()), (true, true), "a renewal");
}

// C9
#[tokio::test(start_paused = true)]
async fn status_shows_the_last_failure_until_a_success() {
    let source = ScriptedSource::new(|n, _| async move {
        if n <= 2 { Err(BoxError::from("down")) } else { Ok(hour(n)) }
    });
    let tokens = tokens(&source);
    for _ in 0..2 {
        tokens.get().await.unwrap_err();
        let error = tokens.status().error().unwrap().clone();
        assert_eq!(error.kind(), TokenErrorKind::Source);
        sleep(secs(1)).await;
        assert!(tokens.status().error().is_some(), "after the back-off too");
    }
    tokens.get().await.unwrap();
    let status = tokens.status();
    assert_eq!((status.is_usable(), status.error().is_some()), (true, false));
}

// C6, C9
#[tokio::test(start_paused = true)]
async fn a_failed_renewal_leaves_the_status_usable() {
    let source = ScriptedSource::new(|n, _| async move {
        if n == 2 { Err(BoxError::from("down")) } else { Ok(lasting(n, secs(1000))) }
    });
    let tokens = tokens(&source);
    tokens.get().await.unwrap();
    advance(secs(800)).await;
    tokens.get().await.unwrap();
    settle().await;
    let status = tokens.status();
    assert_eq!((status.is_usable(), status.error().is_some()), (true, true));
    assert!(status.renews_in().unwrap() > Duration::ZERO, "the retry waits for its back-off");
}

// C8
#[tokio::test(start_paused = true)]
async fn a_rejected_token_is_not_usable() {
    let source = ScriptedSource::tokens(hour);
    let tokens = tokens(&source);
    let before = tokens.status();
    tokens.get().await.unwrap().reject();
    assert!(!tokens.status().is_usable());
    tokens.get().await.unwrap();
    assert_eq!(tokens.status().token().unwrap().secret(), "token-2");
    assert!(!before.is_usable(), "a status does not change");
}
