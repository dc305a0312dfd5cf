//! The sequence of tokens for connections whose password is a token.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::time::{Instant, sleep, timeout};
use tower::BoxError;
use tower_oauth2::cache::TokenChanges;
use tower_oauth2::{TokenErrorKind, Tokens};

use crate::support::*;

async fn next(changes: &mut TokenChanges) -> String {
    changes.next().await.unwrap().secret().to_owned()
}

/// Checks that no other token arrives within `seconds`.
#[track_caller]
fn assert_none_within(
    result: Result<
        Result<tower_oauth2::CachedToken, tower_oauth2::TokenError>,
        tokio::time::error::Elapsed,
    >,
) {
    assert!(result.is_err(), "{result:?}");
}

// C6, C11
#[tokio::test(start_paused = true)]
async fn changes_return_the_current_token_and_then_each_new_one() {
    let source = ScriptedSource::tokens(|n| lasting(n, secs(1000)));
    let tokens = tokens(&source);
    let mut changes = tokens.changes();
    settle().await;
    assert_eq!(source.count(), 0, "nothing is fetched before the first call");
    assert_eq!(next(&mut changes).await, "token-1");
    for n in 2..=5 {
        let start = Instant::now();
        assert_eq!(next(&mut changes).await, format!("token-{n}"));
        // Renewed after 700 to 800 s, without any other caller.
        let waited = start.elapsed();
        assert!((secs(690)..=secs(811)).contains(&waited), "{waited:?}");
    }
    assert_eq!(source.count(), 5);
    assert_eq!(next(&mut tokens.changes()).await, "token-5", "others begin with the current token");
}

// C8
#[tokio::test(start_paused = true)]
async fn a_rejection_is_a_change() {
    let source = ScriptedSource::tokens(hour);
    let tokens = tokens(&source);
    let mut changes = tokens.changes();
    let token = changes.next().await.unwrap();
    assert_none_within(timeout(secs(60), changes.next()).await);
    token.reject();
    let start = Instant::now();
    assert_eq!(next(&mut changes).await, "token-2");
    // Rejected while the call waits:
    let mut waiting = tokio_test::task::spawn(changes.next());
    assert!(waiting.poll().is_pending());
    tokens.get().await.unwrap().reject();
    assert_eq!(waiting.await.unwrap().secret(), "token-3");
    let waited = start.elapsed();
    assert!(
        (secs(1)..=secs(3)).contains(&waited),
        "{waited:?} after the rejection of a young token"
    );
}

// C8
#[tokio::test(start_paused = true)]
async fn a_caller_that_rejects_every_token_floods_nothing() {
    let source = ScriptedSource::tokens(hour);
    let mut changes = tokens(&source).changes();
    let start = Instant::now();
    while start.elapsed() < secs(600) {
        changes.next().await.unwrap().reject();
        // Dropping the future must not start the pause over.
        drop(timeout(ms(300), changes.next()).await);
    }
    assert!((10..=60).contains(&source.count()), "{} token requests", source.count());

    sleep(secs(60)).await;
    let kept = changes.next().await.unwrap();
    sleep(secs(60)).await;
    kept.reject();
    let start = Instant::now();
    changes.next().await.unwrap();
    assert_eq!(start.elapsed(), secs(0), "the token was not young");
}

// C8
#[tokio::test(start_paused = true)]
async fn a_token_that_others_replaced_is_a_change() {
    let source = ScriptedSource::tokens(hour);
    let tokens = tokens(&source);
    let mut changes = tokens.changes();
    assert_eq!(next(&mut changes).await, "token-1");
    for n in 2..=4 {
        tokens.get().await.unwrap().reject();
        assert_eq!(secret(&tokens).await, format!("token-{n}"));
    }
    assert_eq!(next(&mut changes).await, "token-4", "tokens in between are skipped");
    assert_none_within(timeout(secs(60), changes.next()).await);
    assert_eq!(source.count(), 4);
}

// C9
#[tokio::test(start_paused = true)]
async fn after_an_error_the_next_call_waits_for_the_back_off() {
    let source = ScriptedSource::new(|n, _| async move {
        if n <= 4 { Err(BoxError::from("down")) } else { Ok(hour(n)) }
    });
    let tokens = tokens(&source);
    let mut changes = tokens.changes();
    let mut back_off = None;
    for n in 1..=4 {
        let start = Instant::now();
        let error = changes.next().await.unwrap_err();
        assert_eq!((error.kind(), source.count()), (TokenErrorKind::Source, n));
        if let Some(back_off) = back_off {
            assert!(start.elapsed() >= back_off, "{:?} < {back_off:?}", start.elapsed());
        }
        back_off = error.retry_in();
    }
    assert_eq!(next(&mut changes).await, "token-5");
    assert_eq!(source.count(), 5);
}

// C3, C9
#[tokio::test(start_paused = true)]
async fn a_loop_that_ignores_errors_does_not_spin() {
    let source = ScriptedSource::new(|_, _| async { Err(BoxError::from("down")) });
    let tokens = builder(&source)
        .transient_backoff(tower_oauth2::source::Backoff::none())
        .build()
        .tokens(&credentials());
    let mut changes = tokens.changes();
    let end = Instant::now() + secs(60);
    let mut errors = 0;
    while Instant::now() < end {
        changes.next().await.unwrap_err();
        errors += 1;
    }
    assert!((10..=61).contains(&errors), "{errors}");
}

// C3
#[tokio::test(start_paused = true)]
async fn dropping_the_future_loses_no_token() {
    let source = ScriptedSource::new(|n, _| async move {
        sleep(secs(1)).await;
        Ok(lasting(n, secs(1000)))
    });
    let tokens = tokens(&source);
    let mut changes = tokens.changes();
    assert_none_within(timeout(ms(500), changes.next()).await);
    assert_eq!(next(&mut changes).await, "token-1");
    let mut tries = 0;
    loop {
        match timeout(ms(300), changes.next()).await {
            Ok(token) => break assert_eq!(token.unwrap().secret(), "token-2"),
            Err(_) => tries += 1,
        }
    }
    assert!((2000..=2800).contains(&tries), "{tries}");
    assert_eq!(source.count(), 2);
}

// C3
#[tokio::test(start_paused = true)]
async fn dropping_the_future_after_an_error_keeps_the_back_off() {
    let source = ScriptedSource::new(|_, _| async { Err(BoxError::from("down")) });
    let mut changes = tokens(&source).changes();
    changes.next().await.unwrap_err();
    for _ in 0..100 {
        assert!(pin!(changes.next()).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    settle().await;
    assert_eq!(source.count(), 1);
    changes.next().await.unwrap_err();
    assert_eq!(source.count(), 2);
}

// C10
#[tokio::test(start_paused = true)]
async fn a_removal_is_a_change() {
    let source = ScriptedSource::tokens(hour);
    let cache = builder(&source).capacity(0).build();
    let mut changes = cache.tokens(&tenant(1)).changes();
    assert_eq!(next(&mut changes).await, "token-1");
    assert_eq!(cache.len(), 1, "changes hold the slot");
    cache.remove(&tenant(1));
    assert_eq!(next(&mut changes).await, "token-2");
    drop(changes);
    assert_eq!(cache.len(), 0);
}

fn poll_without_runtime(tokens: &Tokens) -> TokenErrorKind {
    let mut changes = tokens.changes();
    let mut next = pin!(changes.next());
    match next.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result.unwrap_err().kind(),
        Poll::Pending => panic!("waits without a runtime"),
    }
}

// C3
#[test]
fn changes_need_a_runtime() {
    let source = ScriptedSource::tokens(hour);
    let tokens = tokens(&source);
    assert_eq!(poll_without_runtime(&tokens), TokenErrorKind::NoRuntime);
    paused_runtime().block_on(tokens.get()).unwrap();
    assert_eq!(poll_without_runtime(&tokens), TokenErrorKind::NoRuntime, "with a token too");
    assert_eq!(source.count(), 1);
}
