use tokio::runtime::Handle;
use tokio::time::sleep;

use super::{builder, secret, secs};
use crate::support::*;

// C10, C11
#[tokio::test(start_paused = true)]
async fn other_credentials_that_were_removed_are_kept_warm_once_more_when_asked_for() {
    let source = Source::of(|n| lasting(n, secs(100)));
    let cache = builder(&source).build();
    let other = credentials().scope("other");
    cache.keep_warm_for(&other).unwrap();
    sleep(secs(1)).await;
    cache.remove(&other);
    sleep(secs(1000)).await;
    assert_eq!(source.count(), 1);
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0, "no task is left behind");

    cache.get_for(&other).await.unwrap();
    sleep(secs(1000)).await;
    assert_eq!(source.count(), 2, "a caller is no reason to keep it warm");
    cache.keep_warm_for(&other).unwrap();
    sleep(secs(1000)).await;
    assert!(source.count() > 10, "{}", source.count());
}

// C10, C11
#[tokio::test(start_paused = true)]
async fn the_caches_own_credentials_are_kept_warm_although_they_are_removed() {
    let source = Source::of(|n| lasting(n, secs(100)));
    let cache = builder(&source).build();
    cache.keep_warm_for(&credentials()).unwrap();
    sleep(secs(1)).await;
    cache.remove(&credentials());
    settle().await;
    assert_eq!(source.count(), 2, "no caller asked for it");
    assert_eq!(secret(&cache).await, "token-2");
    sleep(secs(1000)).await;
    assert!(source.count() > 10, "{}", source.count());
}
