//! C6: renewal ahead of expiry.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{advance, sleep};
use tower::BoxError;
use tower_oauth2::source::Cause;

use crate::support::*;

// A token that lives for 1,000 s is renewed between 700 and 800 s.

// C6, alf 15
#[tokio::test(start_paused = true)]
async fn callers_use_the_current_token_while_it_is_renewed() {
    let source = ScriptedSource::new(|n, _| async move {
        if n > 1 {
            sleep(secs(5)).await;
        }
        Ok(lasting(n, secs(1000)))
    });
    let tokens = tokens(&source);
    secret(&tokens).await;
    advance(secs(699)).await;
    assert_eq!(secret(&tokens).await, "token-1");
    settle().await;
    assert_eq!(source.count(), 1, "not yet due");

    advance(secs(101)).await;
    for _ in 0..10 {
        let before = tokio::time::Instant::now();
        assert_eq!(secret(&tokens).await, "token-1");
        assert_eq!(before.elapsed(), Duration::ZERO, "no caller waits");
        settle().await;
    }
    assert_eq!(source.count(), 2, "one renewal");
    let renewal = &source.requests()[1];
    assert_eq!(renewal.cause(), Cause::Renewal);
    assert_eq!(renewal.token().unwrap().secret(), "token-1");

    advance(secs(5)).await;
    settle().await;
    assert_eq!(secret(&tokens).await, "token-2");
    assert_eq!(source.count(), 2);
}

// C6
#[tokio::test(start_paused = true)]
async fn tokens_of_a_fleet_are_renewed_at_different_times() {
    let members: Vec<_> = (0..100)
        .map(|_| {
            let source = ScriptedSource::tokens(|n| lasting(n, secs(1000)));
            (tokens(&source), source)
        })
        .collect();
    for (tokens, _) in &members {
        secret(tokens).await;
    }
    advance(secs(690)).await;
    let mut due = Vec::new();
    let mut moments = BTreeSet::new();
    for second in 691..=810 {
        advance(secs(1)).await;
        for (n, (tokens, source)) in members.iter().enumerate() {
            if source.count() == 1 {
                secret(tokens).await;
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
    let source = ScriptedSource::tokens(|n| lasting(n, secs(1000)).with_refresh_in(secs(400)));
    let tokens = tokens(&source);
    secret(&tokens).await;
    advance(secs(399)).await;
    secret(&tokens).await;
    settle().await;
    assert_eq!(source.count(), 1);
    advance(secs(1)).await;
    assert_eq!(secret(&tokens).await, "token-1");
    settle().await;
    assert_eq!(secret(&tokens).await, "token-2");
}

// C6
#[tokio::test(start_paused = true)]
async fn renewing_ahead_can_be_switched_off() {
    let source = ScriptedSource::tokens(|n| lasting(n, secs(1000)));
    let tokens = builder(&source).renew_ahead(Duration::ZERO).build().tokens(&credentials());
    secret(&tokens).await;
    advance(secs(989)).await;
    assert_eq!(secret(&tokens).await, "token-1");
    settle().await;
    assert_eq!(source.count(), 1);
}

// C6, C9
#[tokio::test(start_paused = true)]
async fn a_failed_renewal_is_retried_with_back_off() {
    let source = ScriptedSource::new(|n, _| async move {
        if (2..=4).contains(&n) { Err(BoxError::from("down")) } else { Ok(lasting(n, secs(1000))) }
    });
    let tokens = tokens(&source);
    secret(&tokens).await;
    advance(secs(800)).await;
    for failed in 2..=4 {
        assert_eq!(secret(&tokens).await, "token-1");
        settle().await;
        assert_eq!(source.count(), failed);
        // The back-off is at least a tenth of the remaining time, which is 190 s at first and 114 s
        // at last.
        advance(secs(11)).await;
        assert_eq!(secret(&tokens).await, "token-1");
        settle().await;
        assert_eq!(source.count(), failed, "no retry yet");
        // It is at most a fifth.
        advance(secs(27)).await;
    }
    assert_eq!(secret(&tokens).await, "token-1");
    settle().await;
    assert_eq!(secret(&tokens).await, "token-5");
}

// C6
#[tokio::test(start_paused = true)]
async fn a_renewal_without_a_longer_lifetime_counts_as_failed() {
    let first = lasting(1, secs(1000));
    let source = ScriptedSource::new(move |n, _| {
        let first = first.clone();
        // The server returns the same token until its fourth request.
        async move { Ok(if n < 4 { first } else { lasting(n, secs(1000)) }) }
    });
    let tokens = tokens(&source);
    let first = tokens.get().await.unwrap();
    advance(secs(800)).await;
    assert_eq!(secret(&tokens).await, "token-1");
    settle().await;
    assert_eq!(source.count(), 2);
    for _ in 0..10 {
        assert_eq!(secret(&tokens).await, "token-1");
        settle().await;
    }
    assert_eq!(source.count(), 2, "such a server is not asked again at once");
    first.reject();
    // The fetch began after the rejection, so the same text needs no further fetch.
    assert_eq!(secret(&tokens).await, "token-1");
    assert_eq!(source.count(), 3);
    assert_eq!(source.requests()[2].cause(), Cause::Rejected);
}
