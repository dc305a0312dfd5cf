use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::advance;
use tower::BoxError;
use tower_oauth2::source::Cause;
use tower_oauth2::{AccessToken, TokenCache};

use super::{builder, plain, secret, secs};
use crate::support::*;

fn causes(source: &Source) -> Vec<Cause> {
    source.requests().iter().map(|request| request.cause()).collect()
}

// C8
#[tokio::test(start_paused = true)]
async fn a_rejected_token_is_replaced_once_however_often_it_is_reported() {
    let source = Source::of(hour);
    let cache = plain(&source);
    let first = cache.get().await.unwrap();
    for _ in 0..3 {
        cache.reject(&first);
    }
    assert_eq!(secret(&cache).await, "token-2");
    cache.reject(&first);
    assert_eq!(secret(&cache).await, "token-2", "a late report costs nothing");
    assert_eq!(causes(&source), [Cause::Cold, Cause::Rejected]);
    assert_eq!(source.requests()[1].token().unwrap().secret(), "token-1");
}

// C8
#[tokio::test(start_paused = true)]
async fn a_token_that_was_not_issued_here_can_not_be_rejected_here() {
    let source = Source::of(hour);
    let (cache, other) = (plain(&source), plain(&source));
    let theirs = other.get().await.unwrap();
    secret(&cache).await;
    cache.reject(&theirs);
    cache.reject(&AccessToken::new("token-2").unwrap());
    assert_eq!(secret(&cache).await, "token-2");
    assert_eq!(source.count(), 2);
}

// C8
#[tokio::test(start_paused = true)]
async fn tokens_are_told_apart_by_number_and_not_by_text() {
    let source = Source::of(|_| hour(0));
    let cache = plain(&source);
    let first = cache.get().await.unwrap();
    cache.reject(&first);
    let second = cache.get().await.unwrap();
    assert_eq!(first.secret(), second.secret());
    assert_eq!(source.count(), 2, "the same once more is taken as a new issue");
    cache.reject(&first);
    secret(&cache).await;
    assert_eq!(source.count(), 2);
    cache.reject(&second);
    secret(&cache).await;
    assert_eq!(source.count(), 3);
}

// C8
#[tokio::test(start_paused = true)]
async fn a_rejected_token_stays_known_until_another_arrives() {
    let source = Source::new(|n, _| async move {
        if n == 2 || n == 3 { Err(BoxError::from("down")) } else { Ok(hour(n)) }
    });
    let cache = plain(&source);
    let first = cache.get().await.unwrap();
    cache.reject(&first);
    for _ in 0..2 {
        cache.get().await.unwrap_err();
        advance(secs(1)).await;
    }
    assert_eq!(secret(&cache).await, "token-4");
    assert_eq!(causes(&source), [Cause::Cold, Cause::Rejected, Cause::Rejected, Cause::Rejected]);
    assert!(source.requests()[1..].iter().all(|r| r.token().unwrap().secret() == "token-1"));
    // It is forgotten with the arrival of another.
    advance(secs(3600)).await;
    secret(&cache).await;
    assert_eq!(causes(&source)[4], Cause::Cold);
}

/// A cache whose renewal is on its way, held back until the semaphore has a permit.
async fn renewing(
    answer: impl Fn(usize) -> Result<AccessToken, BoxError> + Send + Sync + 'static,
) -> (TokenCache, Source, Arc<Semaphore>, AccessToken) {
    let gate = Arc::new(Semaphore::new(0));
    let answer = Arc::new(answer);
    let (held, answers) = (gate.clone(), answer);
    let source = Source::new(move |n, _| {
        let (held, answers) = (held.clone(), answers.clone());
        async move {
            if n == 2 {
                held.acquire().await.unwrap().forget();
            }
            answers(n)
        }
    });
    let cache = builder(&source).build();
    let first = cache.get().await.unwrap();
    advance(secs(800)).await;
    cache.get().await.unwrap();
    settle().await;
    assert_eq!(causes(&source), [Cause::Cold, Cause::Renewal]);
    (cache, source, gate, first)
}

// C8
#[tokio::test(start_paused = true)]
async fn a_renewal_on_its_way_serves_those_whose_token_was_rejected() {
    let (cache, source, gate, first) = renewing(|n| Ok(lasting(n, secs(1000)))).await;
    cache.reject(&first);
    gate.add_permits(1);
    assert_eq!(secret(&cache).await, "token-2");
    assert_eq!(source.count(), 2);
}

// C8
#[tokio::test(start_paused = true)]
async fn a_flight_that_brings_what_was_rejected_on_its_way_is_followed_by_one_that_knows() {
    // The server hands out its cached token, but once it is told of the rejection.
    let (cache, source, gate, first) =
        renewing(|n| Ok(lasting(if n < 3 { 1 } else { n }, secs(1000)))).await;
    cache.reject(&first);
    gate.add_permits(1);
    let (one, two) = tokio::join!(cache.get(), cache.get());
    assert_eq!((one.unwrap().secret(), two.unwrap().secret()), ("token-3", "token-3"));
    assert_eq!(causes(&source), [Cause::Cold, Cause::Renewal, Cause::Rejected]);
}

// C8
#[tokio::test(start_paused = true)]
async fn a_server_that_hands_out_the_rejected_token_for_ever_is_not_asked_for_ever() {
    let (cache, source, gate, first) = renewing(|_| Ok(lasting(1, secs(1000)))).await;
    cache.reject(&first);
    gate.add_permits(1);
    assert_eq!(secret(&cache).await, "token-1");
    assert_eq!(secret(&cache).await, "token-1");
    assert_eq!(source.count(), 3);
}

// C8, C9
#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_after_the_rejection_does_not_fail_those_who_wait() {
    let (cache, source, gate, first) = renewing(|n| match n {
        2 => Err("down".into()),
        _ => Ok(lasting(n, secs(1000))),
    })
    .await;
    cache.reject(&first);
    gate.add_permits(1);
    assert_eq!(secret(&cache).await, "token-3");
    assert_eq!(causes(&source), [Cause::Cold, Cause::Renewal, Cause::Rejected]);
}

// C8
#[tokio::test(start_paused = true)]
async fn those_who_waited_are_not_given_what_was_rejected_before_they_came_to_run() {
    let source = Source::of(hour);
    let cache = plain(&source);
    let mut early = tokio_test::task::spawn(cache.get());
    assert!(early.poll().is_pending());
    let first = cache.get().await.unwrap();
    cache.reject(&first);
    assert_eq!(early.await.unwrap().secret(), "token-2");
}

// C8
#[tokio::test(start_paused = true)]
async fn nor_are_those_who_come_to_run_after_its_end() {
    let source = Source::of(hour);
    let cache = plain(&source);
    let mut early = tokio_test::task::spawn(cache.get());
    assert!(early.poll().is_pending());
    let first = cache.get().await.unwrap();
    cache.reject(&first);
    advance(secs(3600)).await;
    assert_eq!(early.await.unwrap().secret(), "token-2");
}
