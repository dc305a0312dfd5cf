//! C10: credentials that are removed from a cache.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::sleep;
use tower::BoxError;

use super::gated;
use crate::support::*;

// C10
#[tokio::test(start_paused = true)]
async fn removing_an_idle_slot_forgets_its_token() {
    let source = ScriptedSource::tokens(hour);
    let cache = builder(&source).build();
    get_for(&cache, &tenant(1)).await.unwrap();
    cache.remove(&tenant(1));
    assert!(cache.is_empty());
    assert_eq!(get_for(&cache, &tenant(1)).await.unwrap().secret(), "token-2");
    cache.remove(&tenant(7));
    assert_eq!((cache.len(), source.count()), (1, 2), "unknown credentials change nothing");
}

// C10
#[tokio::test(start_paused = true)]
async fn removing_a_held_slot_forgets_its_token() {
    let source = ScriptedSource::tokens(hour);
    let cache = builder(&source).build();
    let tokens = cache.tokens(&tenant(1));
    let clone = tokens.clone();
    assert_eq!(secret(&tokens).await, "token-1");
    cache.remove(&tenant(1));
    assert_eq!((cache.len(), tokens.status().is_usable()), (1, false));
    assert_eq!(secret(&clone).await, "token-2");
    assert_eq!(secret(&tokens).await, "token-2", "the handles still share the slot");
    assert_eq!(source.count(), 2);
}

// C9, C10
#[tokio::test(start_paused = true)]
async fn removing_a_slot_forgets_its_failures() {
    let source = ScriptedSource::new(|n, _| async move {
        if n <= 2 { Err(BoxError::from("down")) } else { Ok(hour(n)) }
    });
    let cache = builder(&source).build();
    let tokens = cache.tokens(&tenant(1));
    for n in 1..=2 {
        tokens.get().await.unwrap_err();
        tokens.get().await.unwrap_err();
        assert_eq!(source.count(), n, "the failure is remembered");
        cache.remove(&tenant(1));
        assert!(tokens.status().error().is_none());
    }
    assert_eq!(secret(&tokens).await, "token-3");
}

// C10
#[tokio::test(start_paused = true)]
async fn removing_a_slot_leaves_the_others() {
    let source = ScriptedSource::tokens(hour);
    let cache = builder(&source).build();
    for n in 1..=3 {
        get_for(&cache, &tenant(n)).await.unwrap();
    }
    cache.remove(&tenant(2));
    for n in [1, 3] {
        assert_eq!(get_for(&cache, &tenant(n)).await.unwrap().secret(), format!("token-{n}"));
    }
}

// C10
#[tokio::test(start_paused = true)]
async fn callers_that_wait_while_their_slot_is_removed_get_a_token() {
    let gate = Arc::new(Semaphore::new(0));
    let source = gated(&gate);
    let cache = builder(&source).capacity(1).build();
    let (first, second) = (tenant(1), tenant(2));
    let mut callers = [&first, &second].map(|it| tokio_test::task::spawn(get_for(&cache, it)));
    callers.iter_mut().for_each(|caller| assert!(caller.poll().is_pending()));
    cache.remove(&first);
    assert_eq!(cache.len(), 2, "callers hold their slots");
    // The result of the first fetch is not used, so another one follows it.
    gate.add_permits(3);
    for caller in callers {
        caller.await.unwrap();
    }
    settle().await;
    assert_eq!((cache.len(), source.count()), (1, 3));
}

// C4, C10
#[tokio::test(start_paused = true)]
async fn a_failure_after_a_removal_reaches_no_caller() {
    let source = ScriptedSource::new(|n, _| async move {
        sleep(secs(1)).await;
        if n == 1 { Err(BoxError::from("down")) } else { Ok(hour(n)) }
    });
    let cache = builder(&source).build();
    let tokens = cache.tokens(&tenant(1));
    let mut callers = [(); 2].map(|()| tokio_test::task::spawn(tokens.get()));
    callers.iter_mut().for_each(|caller| assert!(caller.poll().is_pending()));
    settle().await;
    cache.remove(&tenant(1));
    for caller in callers {
        assert_eq!(caller.await.unwrap().secret(), "token-2");
    }
    assert_eq!(source.count(), 2);
}

// C10
#[tokio::test(start_paused = true)]
async fn a_token_that_arrives_after_a_removal_is_not_kept() {
    let source = ScriptedSource::new(|n, _| async move {
        sleep(secs(1)).await;
        Ok(hour(n))
    });
    let cache = builder(&source).build();
    let tokens = cache.tokens(&tenant(1));
    let mut caller = tokio_test::task::spawn(tokens.get());
    assert!(caller.poll().is_pending());
    settle().await;
    assert_eq!(source.count(), 1);
    cache.remove(&tenant(1));
    assert_eq!(caller.await.unwrap().secret(), "token-2");
    assert_eq!(secret(&tokens).await, "token-2");
    assert_eq!(source.count(), 2);
}
