use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{advance, sleep};
use tower::BoxError;
use tower_oauth2::source::Cause;

use super::{builder, secret, secs};
use crate::support::*;

// A token of 1,000 s is due between 700 and 800 s.

// C6, alf 15
#[tokio::test(start_paused = true)]
async fn callers_go_on_with_the_token_they_have_while_it_is_renewed() {
    let source = Source::new(|n, _| async move {
        if n > 1 {
            sleep(secs(5)).await;
        }
        Ok(lasting(n, secs(1000)))
    });
    let cache = builder(&source).build();
    secret(&cache).await;
    advance(secs(699)).await;
    assert_eq!(secret(&cache).await, "token-1");
    settle().await;
    assert_eq!(source.count(), 1, "not yet due");

    advance(secs(101)).await;
    for _ in 0..10 {
        let before = tokio::time::Instant::now();
        assert_eq!(secret(&cache).await, "token-1");
        assert_eq!(before.elapsed(), Duration::ZERO, "nobody waits");
        settle().await;
    }
    assert_eq!(source.count(), 2, "one renewal");
    let renewal = &source.requests()[1];
    assert_eq!(renewal.cause(), Cause::Renewal);
    assert_eq!(renewal.token().unwrap().secret(), "token-1");

    advance(secs(5)).await;
    settle().await;
    assert_eq!(secret(&cache).await, "token-2");
    assert_eq!(source.count(), 2);
}

// C6
#[tokio::test(start_paused = true)]
async fn each_token_is_renewed_at_a_moment_of_its_own() {
    let members: Vec<_> = (0..100)
        .map(|_| {
            let source = Source::of(|n| lasting(n, secs(1000)));
            (builder(&source).build(), source)
        })
        .collect();
    for (cache, _) in &members {
        secret(cache).await;
    }
    advance(secs(690)).await;
    let mut due = Vec::new();
    let mut moments = BTreeSet::new();
    for second in 691..=810 {
        advance(secs(1)).await;
        for (n, (cache, source)) in members.iter().enumerate() {
            if source.count() == 1 {
                secret(cache).await;
                settle().await;
                if source.count() == 2 {
                    due.push((n, second));
                    moments.insert(second);
                }
            }
        }
    }
    assert_eq!(due.len(), members.len(), "all were renewed");
    assert!(moments.first().unwrap() >= &700, "{moments:?}");
    assert!(moments.last().unwrap() <= &800, "{moments:?}");
    assert!(moments.first().unwrap() < &730 && moments.last().unwrap() > &770, "{moments:?}");
}

// C6
#[tokio::test(start_paused = true)]
async fn a_server_may_ask_for_an_earlier_renewal() {
    let source = Source::of(|n| lasting(n, secs(1000)).with_refresh_in(secs(400)));
    let cache = builder(&source).build();
    secret(&cache).await;
    advance(secs(399)).await;
    secret(&cache).await;
    settle().await;
    assert_eq!(source.count(), 1);
    advance(secs(1)).await;
    assert_eq!(secret(&cache).await, "token-1");
    settle().await;
    assert_eq!(secret(&cache).await, "token-2");
}

// C6
#[tokio::test(start_paused = true)]
async fn renewing_ahead_can_be_switched_off() {
    let source = Source::of(|n| lasting(n, secs(1000)));
    let cache = builder(&source).renew_ahead(Duration::ZERO).build();
    secret(&cache).await;
    advance(secs(989)).await;
    assert_eq!(secret(&cache).await, "token-1");
    settle().await;
    assert_eq!(source.count(), 1);
}

// C6, C9
#[tokio::test(start_paused = true)]
async fn a_failed_renewal_leaves_the_token_alone_and_is_tried_again_with_back_off() {
    let source = Source::new(|n, _| async move {
        if (2..=4).contains(&n) { Err(BoxError::from("down")) } else { Ok(lasting(n, secs(1000))) }
    });
    let cache = builder(&source).build();
    secret(&cache).await;
    advance(secs(800)).await;
    for failed in 2..=4 {
        assert_eq!(secret(&cache).await, "token-1");
        settle().await;
        assert_eq!(source.count(), failed);
        // For a tenth of what is left of it, at the least: 190 s at first, 114 s at last.
        advance(secs(11)).await;
        assert_eq!(secret(&cache).await, "token-1");
        settle().await;
        assert_eq!(source.count(), failed, "left alone");
        // And for a fifth at the most.
        advance(secs(27)).await;
    }
    assert_eq!(secret(&cache).await, "token-1");
    settle().await;
    assert_eq!(secret(&cache).await, "token-5");
}

// C6
#[tokio::test(start_paused = true)]
async fn a_renewal_that_brings_no_longer_life_counts_as_failed() {
    let first = lasting(1, secs(1000));
    let source = Source::new(move |n, _| {
        let first = first.clone();
        // The server hands out the same token until 900 s have gone by.
        async move { Ok(if n < 4 { first } else { lasting(n, secs(1000)) }) }
    });
    let cache = builder(&source).build();
    let first = cache.get().await.unwrap();
    advance(secs(800)).await;
    assert_eq!(secret(&cache).await, "token-1");
    settle().await;
    assert_eq!(source.count(), 2);
    // A late rejection of the token that was there all the time still counts.
    for _ in 0..10 {
        assert_eq!(secret(&cache).await, "token-1");
        settle().await;
    }
    assert_eq!(source.count(), 2, "a server that does so is not asked again at once");
    cache.reject(&first);
    // Twice the same text: a follow-up was not due, as the rejection was known from the start.
    assert_eq!(secret(&cache).await, "token-1");
    assert_eq!(source.count(), 3);
    assert_eq!(source.requests()[2].cause(), Cause::Rejected);
}
