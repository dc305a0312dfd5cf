//! C10: more credentials than the capacity.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime;
use tokio::sync::Semaphore;
use tokio::time::{advance, sleep};
use tower_oauth2::{Credentials, TokenCache};

use super::gated;
use crate::support::*;

/// Returns the number of token requests for `tenant`.
fn count_of(source: &ScriptedSource, tenant: &Credentials) -> usize {
    source.requests().iter().filter(|request| request.credentials() == tenant).count()
}

async fn use_in_order(cache: &TokenCache, tenants: &[usize]) {
    for n in tenants {
        get_for(cache, &tenant(*n)).await.unwrap();
        advance(ms(1)).await;
    }
}

// C10
#[tokio::test(start_paused = true)]
async fn the_least_recently_used_slot_is_evicted_unless_it_is_held() {
    let source = ScriptedSource::tokens(hour);
    let cache = builder(&source).capacity(3).build();
    let held = cache.tokens(&credentials());
    held.get().await.unwrap();
    use_in_order(&cache, &[1, 2, 1, 3]).await;
    assert_eq!(cache.len(), 3);
    use_in_order(&cache, &[1, 3]).await;
    assert_eq!((count_of(&source, &tenant(1)), count_of(&source, &tenant(3))), (1, 1), "kept");
    use_in_order(&cache, &[2]).await;
    assert_eq!(count_of(&source, &tenant(2)), 2, "evicted");
    held.get().await.unwrap();
    assert_eq!(count_of(&source, &credentials()), 1, "a handle holds the slot");
}

// C10
#[tokio::test(start_paused = true)]
async fn the_default_capacity_is_ten_thousand() {
    let source = ScriptedSource::tokens(hour);
    let cache = builder(&source).build();
    for _ in 0..2 {
        for n in 0..10_000 {
            let token = get_for(&cache, &tenant(n)).await.unwrap();
            assert_eq!(token.secret(), format!("token-{}", n + 1), "not evicted");
        }
        assert_eq!((cache.len(), source.count()), (10_000, 10_000));
    }
    for n in 10_000..10_200 {
        get_for(&cache, &tenant(n)).await.unwrap();
        assert!(cache.len() <= 10_000);
    }
}

// C10, C2
#[tokio::test(start_paused = true)]
async fn a_full_cache_serves_others_and_does_not_keep_them() {
    let source = ScriptedSource::new(|n, _| async move {
        sleep(secs(1)).await;
        Ok(hour(n))
    });
    let cache = builder(&source).capacity(1).build();
    let (first, second) = (tenant(1), tenant(2));
    let (one, two, two_again) =
        tokio::join!(get_for(&cache, &first), get_for(&cache, &second), get_for(&cache, &second));
    assert!(one.is_ok() && two.is_ok() && two_again.is_ok());
    assert_eq!(source.count(), 2, "callers of the second share a fetch too");
    assert!(cache.len() <= 1);
}

// C10
#[tokio::test(start_paused = true)]
async fn a_capacity_of_zero_still_serves() {
    let source = ScriptedSource::tokens(hour);
    let cache = builder(&source).capacity(0).build();
    use_in_order(&cache, &[1, 1]).await;
    assert_eq!(source.count(), 2);
    assert_eq!(cache.len(), 0);
}

// C2, C10
#[tokio::test(start_paused = true)]
async fn more_running_fetches_than_capacity_are_all_served() {
    let gate = Arc::new(Semaphore::new(0));
    let source = gated(&gate);
    let cache = builder(&source).capacity(100).build();
    let tenants: Vec<_> = (0..300).map(tenant).collect();
    // Each tenant has two callers, who share a token request.
    let callers = tenants.iter().chain(&tenants).map(|tenant| get_for(&cache, tenant));
    let mut callers = tokio_test::task::spawn(join_all(callers));
    assert!(callers.poll().is_pending());
    settle().await;
    assert_eq!((cache.len(), source.count()), (300, 300), "none is evicted while its fetch runs");

    gate.add_permits(300);
    let tokens = callers.await;
    assert!(tokens.iter().all(Result::is_ok));
    settle().await;
    assert_eq!(cache.len(), 100, "the others are evicted with their last caller");
    assert_eq!(source.count(), 300);
}

// C10
#[tokio::test]
async fn concurrent_inserts_and_evictions_are_counted_right() {
    let mut runtime = runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_time().build().unwrap();
    let source = ScriptedSource::tokens(hour);
    let cache = builder(&source).renew_ahead(Duration::ZERO).capacity(10).build();
    let tasks = (0..4).map(|seed| {
        let cache = cache.clone();
        runtime.spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed);
            for _ in 0..500 {
                get_for(&cache, &tenant(random.usize(0..40))).await.unwrap();
                if random.u8(0..10) == 0 {
                    cache.remove(&tenant(random.usize(0..40)));
                }
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    while runtime.metrics().num_alive_tasks() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(cache.len() <= 10, "{}", cache.len());
    (0..40).for_each(|n| cache.remove(&tenant(n)));
    assert!(cache.is_empty());
    runtime.shutdown_background();
}

// C10, C11
#[test]
fn a_kept_warm_slot_is_evicted_after_its_last_handle() {
    let runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let source = ScriptedSource::tokens(hour);
    let cache = builder(&source).capacity(0).build();
    let tokens = cache.tokens(&tenant(1));
    runtime.block_on(async {
        tokens.keep_warm().unwrap();
        settle().await;
    });
    assert_eq!((cache.len(), source.count()), (1, 1), "held, although the capacity is 0");
    // The task of a runtime that has ended holds nothing.
    drop(runtime);
    assert_eq!(cache.len(), 1);
    drop(tokens);
    assert_eq!(cache.len(), 0);
}

// C8, C10
#[tokio::test(start_paused = true)]
async fn each_tenant_has_its_own_token() {
    let source = ScriptedSource::tokens(hour);
    let cache = builder(&source).build();
    let (one, two) = (cache.tokens(&tenant(1)), cache.tokens(&tenant(2)));
    let rejected = one.get().await.unwrap();
    assert_eq!(secret(&two).await, "token-2");
    rejected.reject();
    assert_eq!(secret(&two).await, "token-2");
    assert_eq!(secret(&one).await, "token-3");
}
