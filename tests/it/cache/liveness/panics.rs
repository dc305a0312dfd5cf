//! A source that panics.

use std::collections::BTreeSet;

use tower_oauth2::TokenErrorKind;

use super::*;

/// Panics in the requests with these numbers.
fn panicking(numbers: impl IntoIterator<Item = usize>) -> ScriptedSource {
    let numbers: BTreeSet<_> = numbers.into_iter().collect();
    ScriptedSource::new(move |n, _| {
        let panics = numbers.contains(&n);
        async move {
            assert!(!panics, "on purpose");
            Ok(lasting(n, Duration::ZERO))
        }
    })
}

/// Starts a fetch that panics, and gives up without waiting for it.
async fn start_and_give_up(tokens: &Tokens) {
    assert!(caller(tokens).poll().is_pending());
    settle().await;
}

// C3
#[tokio::test(start_paused = true)]
async fn one_panic_is_not_remembered() {
    let source = panicking([1]);
    let tokens = tokens(&source);
    start_and_give_up(&tokens).await;
    assert_eq!(source.count(), 1);
    assert_eq!(secret_of(tokens.get().await), "token-2");
}

// C3, C9
#[tokio::test(start_paused = true)]
async fn two_panics_in_a_row_are_remembered() {
    let source = panicking(1..100);
    let tokens = tokens(&source);
    let error = tokens.get().await.unwrap_err();
    assert_eq!((error.kind(), source.count()), (TokenErrorKind::Interrupted, 2));
    let pause = error.retry_in().unwrap();
    assert!(pause <= ms(200), "{pause:?}");
    for _ in 0..3 {
        assert_eq!(tokens.get().await.unwrap_err().kind(), TokenErrorKind::Interrupted);
    }
    assert_eq!(source.count(), 2, "no request during the back-off");
    advance(pause).await;
    tokens.get().await.unwrap_err();
    assert!(source.count() > 2);
}

// C3, C9
#[tokio::test(start_paused = true)]
async fn panics_of_fetches_of_different_callers_count_together() {
    let source = panicking([1, 2]);
    let tokens = tokens(&source);
    start_and_give_up(&tokens).await;
    // The second panic in a row fails its waiters.
    assert_eq!(tokens.get().await.unwrap_err().kind(), TokenErrorKind::Interrupted);
    assert_eq!(source.count(), 2);
    advance(ms(200)).await;
    assert_eq!(secret_of(tokens.get().await), "token-3");
}

// C3
#[tokio::test(start_paused = true)]
async fn panics_with_a_token_in_between_are_not_in_a_row() {
    let source = panicking([1, 3, 5]);
    let tokens = tokens(&source);
    for n in [2, 4, 6] {
        start_and_give_up(&tokens).await;
        assert_eq!(secret_of(tokens.get().await), format!("token-{n}"));
    }
}

// C3, C6
#[tokio::test(start_paused = true)]
async fn a_renewal_that_panics_once_is_retried_after_a_second() {
    let source = ScriptedSource::new(|n, _| async move {
        assert!(n != 2, "on purpose");
        Ok(lasting(n, secs(1000)))
    });
    let tokens = tokens(&source);
    tokens.get().await.unwrap();
    advance(secs(801)).await;
    assert_eq!(secret_of(tokens.get().await), "token-1");
    settle().await;
    assert_eq!(source.count(), 2);
    advance(secs(2)).await;
    assert_eq!(secret_of(tokens.get().await), "token-1");
    settle().await;
    assert_eq!(secret_of(tokens.get().await), "token-3");
}
