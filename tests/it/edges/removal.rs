//! C11: credentials that are removed while they are kept warm.

use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::support::*;

// C10, C11
#[tokio::test(start_paused = true)]
async fn a_removed_held_slot_is_kept_warm() {
    let source = ScriptedSource::tokens(|n| lasting(n, secs(100)));
    let cache = builder(&source).build();
    let tokens = cache.tokens(&tenant(1));
    tokens.keep_warm().unwrap();
    sleep(secs(1)).await;
    cache.remove(&tenant(1));
    settle().await;
    assert_eq!(source.count(), 2, "without a caller");
    assert_eq!(secret(&tokens).await, "token-2");
    sleep(secs(1000)).await;
    assert!(source.count() > 10, "{}", source.count());
}

// C10, C11
#[tokio::test(start_paused = true)]
async fn a_slot_removed_after_its_last_handle_is_not_kept_warm() {
    let source = ScriptedSource::tokens(|n| lasting(n, secs(100)));
    let cache = builder(&source).build();
    let tokens = cache.tokens(&tenant(1));
    tokens.keep_warm().unwrap();
    sleep(secs(1)).await;
    drop(tokens);
    cache.remove(&tenant(1));
    assert!(cache.is_empty());
    sleep(secs(1000)).await;
    assert_eq!(source.count(), 1);
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0, "no task is left behind");

    let tokens = cache.tokens(&tenant(1));
    tokens.get().await.unwrap();
    sleep(secs(1000)).await;
    assert_eq!(source.count(), 2, "a caller alone keeps nothing warm");
    tokens.keep_warm().unwrap();
    sleep(secs(1000)).await;
    assert!(source.count() > 10, "{}", source.count());
}
