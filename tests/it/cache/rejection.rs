//! C8: tokens that a caller rejects by hand.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::advance;
use tower::BoxError;
use tower_oauth2::source::Cause;
use tower_oauth2::{AccessToken, CachedToken, Tokens};

use super::without_renewal;
use crate::support::*;

fn causes(source: &ScriptedSource) -> Vec<Cause> {
    source.requests().iter().map(|request| request.cause()).collect()
}

// C8
#[tokio::test(start_paused = true)]
async fn a_token_that_is_rejected_several_times_is_replaced_once() {
    let source = ScriptedSource::tokens(hour);
    let tokens = without_renewal(&source);
    let first = tokens.get().await.unwrap();
    for _ in 0..3 {
        first.reject();
    }
    assert_eq!(secret(&tokens).await, "token-2");
    first.reject();
    assert_eq!(secret(&tokens).await, "token-2", "a late rejection has no effect");
    assert_eq!(causes(&source), [Cause::Cold, Cause::Rejected]);
    assert_eq!(source.requests()[1].token().unwrap().secret(), "token-1");
}

// C8
#[tokio::test(start_paused = true)]
async fn a_token_of_another_cache_is_not_rejected_here() {
    let source = ScriptedSource::tokens(hour);
    let (tokens, other) = (without_renewal(&source), without_renewal(&source));
    let theirs = other.get().await.unwrap();
    secret(&tokens).await;
    theirs.reject();
    assert_eq!(secret(&tokens).await, "token-2");
    assert_eq!(source.count(), 2);
}

// C8
#[tokio::test(start_paused = true)]
async fn tokens_are_compared_by_issue_and_not_by_text() {
    let source = ScriptedSource::tokens(|_| hour(0));
    let tokens = without_renewal(&source);
    let first = tokens.get().await.unwrap();
    first.reject();
    let second = tokens.get().await.unwrap();
    assert_eq!(first.secret(), second.secret());
    assert_eq!(source.count(), 2, "the same text is a new issue");
    first.reject();
    secret(&tokens).await;
    assert_eq!(source.count(), 2);
    second.reject();
    secret(&tokens).await;
    assert_eq!(source.count(), 3);
}

// C8
#[tokio::test(start_paused = true)]
async fn a_rejected_token_stays_known_until_another_arrives() {
    let source = ScriptedSource::new(|n, _| async move {
        if n == 2 || n == 3 { Err(BoxError::from("down")) } else { Ok(hour(n)) }
    });
    let tokens = without_renewal(&source);
    let first = tokens.get().await.unwrap();
    first.reject();
    for _ in 0..2 {
        tokens.get().await.unwrap_err();
        advance(secs(1)).await;
    }
    assert_eq!(secret(&tokens).await, "token-4");
    assert_eq!(causes(&source), [Cause::Cold, Cause::Rejected, Cause::Rejected, Cause::Rejected]);
    assert!(source.requests()[1..].iter().all(|r| r.token().unwrap().secret() == "token-1"));
    // The rejected token is forgotten when another arrives.
    advance(secs(3600)).await;
    secret(&tokens).await;
    assert_eq!(causes(&source)[4], Cause::Cold);
}

/// Returns tokens whose renewal waits until the semaphore has a permit.
async fn renewing(
    answer: impl Fn(usize) -> Result<AccessToken, BoxError> + Send + Sync + 'static,
) -> (Tokens, ScriptedSource, Arc<Semaphore>, CachedToken) {
    let gate = Arc::new(Semaphore::new(0));
    let answer = Arc::new(answer);
    let (held, answers) = (gate.clone(), answer);
    let source = ScriptedSource::new(move |n, _| {
        let (held, answers) = (held.clone(), answers.clone());
        async move {
            if n == 2 {
                held.acquire().await.unwrap().forget();
            }
            answers(n)
        }
    });
    let tokens = tokens(&source);
    let first = tokens.get().await.unwrap();
    advance(secs(800)).await;
    tokens.get().await.unwrap();
    settle().await;
    assert_eq!(causes(&source), [Cause::Cold, Cause::Renewal]);
    (tokens, source, gate, first)
}

// C8
#[tokio::test(start_paused = true)]
async fn a_running_renewal_replaces_a_rejected_token() {
    let (tokens, source, gate, first) = renewing(|n| Ok(lasting(n, secs(1000)))).await;
    first.reject();
    gate.add_permits(1);
    assert_eq!(secret(&tokens).await, "token-2");
    assert_eq!(source.count(), 2);
}

// C8
#[tokio::test(start_paused = true)]
async fn a_renewal_that_returns_the_rejected_token_is_repeated() {
    // The server returns its cached token until a request names the rejected one.
    let (tokens, source, gate, first) =
        renewing(|n| Ok(lasting(if n < 3 { 1 } else { n }, secs(1000)))).await;
    first.reject();
    gate.add_permits(1);
    let (one, two) = tokio::join!(tokens.get(), tokens.get());
    assert_eq!((one.unwrap().secret(), two.unwrap().secret()), ("token-3", "token-3"));
    assert_eq!(causes(&source), [Cause::Cold, Cause::Renewal, Cause::Rejected]);
}

// C8
#[tokio::test(start_paused = true)]
async fn a_server_that_repeats_a_rejected_token_gets_two_requests() {
    let (tokens, source, gate, first) = renewing(|_| Ok(lasting(1, secs(1000)))).await;
    first.reject();
    gate.add_permits(1);
    assert_eq!(secret(&tokens).await, "token-1");
    assert_eq!(secret(&tokens).await, "token-1");
    assert_eq!(source.count(), 3);
}

// C8, C9
#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_after_a_rejection_fails_no_waiter() {
    let (tokens, source, gate, first) = renewing(|n| match n {
        2 => Err("down".into()),
        _ => Ok(lasting(n, secs(1000))),
    })
    .await;
    first.reject();
    gate.add_permits(1);
    assert_eq!(secret(&tokens).await, "token-3");
    assert_eq!(causes(&source), [Cause::Cold, Cause::Renewal, Cause::Rejected]);
}

// C8
#[tokio::test(start_paused = true)]
async fn waiters_do_not_get_a_token_rejected_before_they_run() {
    let source = ScriptedSource::tokens(hour);
    let tokens = without_renewal(&source);
    let mut early = tokio_test::task::spawn(tokens.get());
    assert!(early.poll().is_pending());
    let first = tokens.get().await.unwrap();
    first.reject();
    assert_eq!(early.await.unwrap().secret(), "token-2");
}

// C8
#[tokio::test(start_paused = true)]
async fn waiters_that_run_after_the_end_of_a_rejected_token_refetch() {
    let source = ScriptedSource::tokens(hour);
    let tokens = without_renewal(&source);
    let mut early = tokio_test::task::spawn(tokens.get());
    assert!(early.poll().is_pending());
    let first = tokens.get().await.unwrap();
    first.reject();
    advance(secs(3600)).await;
    assert_eq!(early.await.unwrap().secret(), "token-2");
}
