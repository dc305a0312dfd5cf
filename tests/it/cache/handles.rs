//! C10: a handle holds the slot of its credentials.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::sleep;
use tower::BoxError;
use tower_oauth2::TokenErrorKind;

use crate::support::*;

// C10
#[tokio::test(start_paused = true)]
async fn handles_of_equal_credentials_share_a_slot() {
    let source = ScriptedSource::tokens(hour);
    let cache = builder(&source).build();
    let (one, other) = (cache.tokens(&tenant(1)), cache.tokens(&tenant(1)));
    let (first, second) = tokio::join!(one.get(), other.get());
    assert_eq!((first.unwrap().secret(), second.unwrap().secret()), ("token-1", "token-1"));
    assert_eq!((cache.len(), source.count()), (1, 1));
    assert_eq!(one.credentials(), &tenant(1));
    assert_eq!(secret(&cache.tokens(&tenant(2))).await, "token-2");
}

// C10
#[tokio::test(start_paused = true)]
async fn creating_a_handle_fetches_nothing() {
    let source = ScriptedSource::tokens(hour);
    let cache = builder(&source).build();
    assert!(cache.is_empty());
    let _held = cache.tokens(&tenant(1));
    settle().await;
    assert_eq!((cache.len(), source.count()), (1, 0));
}

// C10
#[tokio::test(start_paused = true)]
async fn a_held_slot_is_not_evicted() {
    let source = ScriptedSource::tokens(hour);
    let cache = builder(&source).capacity(2).build();
    let held: Vec<_> = (0..5).map(|n| cache.tokens(&tenant(n))).collect();
    for tokens in &held {
        tokens.get().await.unwrap();
    }
    for n in 5..100 {
        get_for(&cache, &tenant(n)).await.unwrap();
        assert_eq!(cache.len(), 5, "the others are evicted with their handle");
    }
    for (n, tokens) in held.iter().enumerate() {
        assert_eq!(secret(tokens).await, format!("token-{}", n + 1));
    }
}

// C10
#[tokio::test(start_paused = true)]
async fn a_surplus_slot_is_evicted_with_its_last_handle() {
    let source = ScriptedSource::tokens(hour);
    let cache = builder(&source).capacity(1).build();
    let (first, second) = (cache.tokens(&tenant(1)), cache.tokens(&tenant(2)));
    let clone = second.clone();
    secret(&first).await;
    secret(&second).await;
    drop(second);
    assert_eq!(cache.len(), 2, "a clone holds the slot too");
    drop(clone);
    assert_eq!(cache.len(), 1);
    assert_eq!(secret(&first).await, "token-1");
    assert_eq!(secret(&cache.tokens(&tenant(2))).await, "token-3", "fetched again");
}

// C10
#[tokio::test(start_paused = true)]
async fn a_slot_stays_after_its_last_handle_while_there_is_room() {
    let source = ScriptedSource::tokens(hour);
    let cache = builder(&source).capacity(1).build();
    for _ in 0..2 {
        assert_eq!(secret(&cache.tokens(&tenant(1))).await, "token-1");
    }
    assert_eq!((cache.len(), source.count()), (1, 1));
}

// C2, C10
#[tokio::test(start_paused = true)]
async fn a_running_fetch_holds_its_slot() {
    let gate = Arc::new(Semaphore::new(0));
    let permits = gate.clone();
    let source = ScriptedSource::new(move |n, _| {
        let permits = permits.clone();
        async move {
            permits.acquire().await?.forget();
            Ok(hour(n))
        }
    });
    let cache = builder(&source).capacity(0).build();
    let credentials = tenant(1);
    let mut caller = tokio_test::task::spawn(get_for(&cache, &credentials));
    assert!(caller.poll().is_pending());
    drop(caller);
    settle().await;
    assert_eq!(cache.len(), 1);
    gate.add_permits(1);
    settle().await;
    assert_eq!(cache.len(), 0, "evicted with the fetch");
}

// C10
#[tokio::test(start_paused = true)]
async fn all_returns_a_handle_for_each_slot() {
    let source = ScriptedSource::tokens(hour);
    let cache = builder(&source).capacity(3).build();
    assert!(cache.all().is_empty());
    for n in 1..=3 {
        get_for(&cache, &tenant(n)).await.unwrap();
    }
    let all = cache.all();
    let has = |n| all.iter().any(|tokens| *tokens.credentials() == tenant(n));
    assert!(all.len() == 3 && (1..=3).all(has), "{all:?}");
    assert!(all.iter().all(|tokens| tokens.status().is_usable()));

    get_for(&cache, &tenant(4)).await.unwrap();
    assert_eq!(cache.len(), 3, "the handles hold the slots");
    assert_eq!(secret(&all[0]).await, all[0].get().await.unwrap().secret());
    assert_eq!(source.count(), 4);
    drop(all);
    get_for(&cache, &tenant(4)).await.unwrap();
    assert_eq!((cache.len(), source.count()), (3, 5), "can be evicted again");
}

// C10
#[tokio::test(start_paused = true)]
async fn a_handle_outlives_its_cache() {
    let source = ScriptedSource::new(|n, _| async move {
        sleep(secs(1)).await;
        if n == 2 { Err(BoxError::from("down")) } else { Ok(lasting(n, secs(100))) }
    });
    let cache = builder(&source).build();
    let tokens = cache.tokens(&tenant(1));
    let mut caller = tokio_test::task::spawn(tokens.get());
    assert!(caller.poll().is_pending());
    drop(cache);
    let token = caller.await.unwrap();
    assert_eq!(token.secret(), "token-1");
    token.reject();
    assert_eq!(tokens.get().await.unwrap_err().kind(), TokenErrorKind::Source);
    sleep(secs(1)).await;
    assert_eq!(secret(&tokens).await, "token-3");
    sleep(secs(80)).await;
    assert_eq!(secret(&tokens).await, "token-3");
    sleep(secs(2)).await;
    assert_eq!(secret(&tokens).await, "token-4", "renewed");
}

// C8, C10
#[tokio::test(start_paused = true)]
async fn a_token_can_be_rejected_after_the_end_of_its_cache() {
    let source = ScriptedSource::tokens(hour);
    let cache = builder(&source).build();
    let token = get_for(&cache, &tenant(1)).await.unwrap();
    drop(cache);
    token.reject();
    token.reject();
    assert_eq!(token.secret(), "token-1");
    assert_eq!(source.count(), 1);
}

// C8, C10
#[tokio::test(start_paused = true)]
async fn a_token_can_be_rejected_without_a_handle() {
    let source = ScriptedSource::tokens(hour);
    let cache = builder(&source).build();
    let token = get_for(&cache, &tenant(1)).await.unwrap();
    let again = get_for(&cache, &tenant(1)).await.unwrap();
    for rejected in [token, again] {
        rejected.reject();
        assert_eq!(get_for(&cache, &tenant(1)).await.unwrap().secret(), "token-2");
    }
    assert_eq!(source.count(), 2);
}
