use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime::{self, Handle};
use tokio::sync::Semaphore;
use tokio::time::{advance, sleep};
use tower_oauth2::{Credentials, TokenCache};

use super::{builder, secs};
use crate::support::*;

fn tenant(n: usize) -> Credentials {
    credentials().audience(format!("https://tenant-{n}.test/"))
}

/// How many token requests were made for `tenant`.
fn asked(source: &Source, tenant: &Credentials) -> usize {
    source.requests().iter().filter(|request| request.credentials() == tenant).count()
}

async fn use_in_order(cache: &TokenCache, tenants: &[usize]) {
    for n in tenants {
        cache.get_for(&tenant(*n)).await.unwrap();
        advance(Duration::from_millis(1)).await;
    }
}

// C10
#[tokio::test(start_paused = true)]
async fn the_least_recently_used_credentials_go_first_and_never_the_default_ones() {
    let source = Source::of(hour);
    let cache = builder(&source).capacity(2).build();
    cache.get().await.unwrap();
    use_in_order(&cache, &[1, 2, 1, 3]).await;
    assert_eq!(cache.len(), 2);
    use_in_order(&cache, &[1, 3]).await;
    assert_eq!((asked(&source, &tenant(1)), asked(&source, &tenant(3))), (1, 1), "kept");
    use_in_order(&cache, &[2]).await;
    assert_eq!(asked(&source, &tenant(2)), 2, "gone");
    cache.get().await.unwrap();
    assert_eq!(asked(&source, &credentials()), 1, "the default ones stay");
}

// C10
#[tokio::test(start_paused = true)]
async fn ten_thousand_are_kept_unless_set_otherwise() {
    let source = Source::of(hour);
    let cache = builder(&source).build();
    for _ in 0..2 {
        for n in 0..10_000 {
            let token = cache.get_for(&tenant(n)).await.unwrap();
            assert_eq!(token.secret(), format!("token-{}", n + 1), "its own, and still there");
        }
        assert_eq!((cache.len(), source.count()), (10_000, 10_000));
    }
    for n in 10_000..10_200 {
        cache.get_for(&tenant(n)).await.unwrap();
        assert!(cache.len() <= 10_000);
    }
}

// C10, C2
#[tokio::test(start_paused = true)]
async fn when_none_can_go_the_newcomer_is_served_and_not_kept() {
    let source = Source::new(|n, _| async move {
        sleep(secs(1)).await;
        Ok(hour(n))
    });
    let cache = builder(&source).capacity(1).build();
    let (first, second) = (tenant(1), tenant(2));
    // The first has a flight for as long as the others do.
    let (one, two, two_again) =
        tokio::join!(cache.get_for(&first), cache.get_for(&second), cache.get_for(&second));
    assert!(one.is_ok() && two.is_ok() && two_again.is_ok());
    assert_eq!(source.count(), 2, "one flight for the newcomer too");
    assert!(cache.len() <= 1);
}

// C10
#[tokio::test(start_paused = true)]
async fn no_room_at_all_still_serves() {
    let source = Source::of(hour);
    let cache = builder(&source).capacity(0).build();
    use_in_order(&cache, &[1, 1]).await;
    assert_eq!(source.count(), 2);
    assert_eq!(cache.len(), 0);
}

/// A source that answers once the gate has a permit for the request.
fn gated(gate: &Arc<Semaphore>) -> Source {
    let gate = gate.clone();
    Source::new(move |n, _| {
        let gate = gate.clone();
        async move {
            gate.acquire().await?.forget();
            Ok(hour(n))
        }
    })
}

// C2, C10
#[tokio::test(start_paused = true)]
async fn more_credentials_in_flight_than_room_are_all_served() {
    let gate = Arc::new(Semaphore::new(0));
    let source = gated(&gate);
    let cache = builder(&source).capacity(100).build();
    let tenants: Vec<_> = (0..300).map(tenant).collect();
    // Each tenant has two callers, who share a token request.
    let callers = tenants.iter().chain(&tenants).map(|tenant| cache.get_for(tenant));
    let mut callers = tokio_test::task::spawn(join_all(callers));
    assert!(callers.poll().is_pending());
    settle().await;
    assert_eq!((cache.len(), source.count()), (300, 300), "none in flight is evicted");

    gate.add_permits(300);
    let tokens = callers.await;
    assert!(tokens.iter().all(Result::is_ok));
    settle().await;
    assert_eq!(cache.len(), 100, "the others go with their last caller");
    assert_eq!(source.count(), 300);
}

// C10
#[tokio::test]
async fn credentials_that_go_while_others_come_are_counted_right() {
    let mut runtime = runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_time().build().unwrap();
    let source = Source::of(hour);
    let cache = builder(&source).renew_ahead(Duration::ZERO).capacity(10).build();
    let tasks = (0..4).map(|seed| {
        let cache = cache.clone();
        runtime.spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed);
            for _ in 0..500 {
                cache.get_for(&tenant(random.usize(0..40))).await.unwrap();
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
    assert_eq!(cache.len(), 0);
    runtime.shutdown_background();
}

// C10
#[tokio::test(start_paused = true)]
async fn credentials_removed_in_flight_do_not_count() {
    let gate = Arc::new(Semaphore::new(0));
    let source = gated(&gate);
    let cache = builder(&source).capacity(1).build();
    let (first, second) = (tenant(1), tenant(2));
    let mut callers = [&first, &second].map(|it| tokio_test::task::spawn(cache.get_for(it)));
    callers.iter_mut().for_each(|caller| assert!(caller.poll().is_pending()));
    cache.remove(&first);
    assert_eq!(cache.len(), 1);
    gate.add_permits(2);
    for caller in callers {
        caller.await.unwrap();
    }
    settle().await;
    cache.get_for(&second).await.unwrap();
    assert_eq!((cache.len(), asked(&source, &second)), (1, 1), "there is room for it");
}

// C10, C11
#[test]
fn credentials_kept_warm_go_once_their_runtime_has_ended() {
    let runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let source = Source::of(hour);
    let cache = builder(&source).capacity(0).build();
    runtime.block_on(async {
        cache.keep_warm_for(&tenant(1)).unwrap();
        settle().await;
        assert_eq!(Handle::current().metrics().num_alive_tasks(), 1);
    });
    assert_eq!((cache.len(), source.count()), (1, 1), "kept, although there is no room");
    drop(runtime);
    assert_eq!(cache.len(), 0);
}

// C10
#[tokio::test(start_paused = true)]
async fn credentials_can_be_removed() {
    let source = Source::of(hour);
    let cache = builder(&source).build();
    for credentials in [credentials(), tenant(1)] {
        cache.get_for(&credentials).await.unwrap();
        cache.remove(&credentials);
        cache.get_for(&credentials).await.unwrap();
        assert_eq!(asked(&source, &credentials), 2);
    }
    cache.remove(&tenant(7));
}

// C10
#[tokio::test(start_paused = true)]
async fn what_arrives_after_its_credentials_were_removed_is_not_kept() {
    let source = Source::new(|n, _| async move {
        sleep(secs(1)).await;
        Ok(hour(n))
    });
    let cache = builder(&source).build();
    for credentials in [credentials(), tenant(1)] {
        let before = source.count();
        let mut caller = tokio_test::task::spawn(cache.get_for(&credentials));
        assert!(caller.poll().is_pending());
        settle().await;
        assert_eq!(source.count(), before + 1);
        cache.remove(&credentials);
        caller.await.unwrap();
        cache.get_for(&credentials).await.unwrap();
        assert_eq!(source.count(), before + 2);
    }
}

// C8, C10
#[tokio::test(start_paused = true)]
async fn each_has_a_token_of_its_own() {
    let source = Source::of(hour);
    let cache = builder(&source).build();
    let one = cache.get_for(&tenant(1)).await.unwrap();
    let two = cache.get_for(&tenant(2)).await.unwrap();
    assert_ne!(one.secret(), two.secret());
    cache.reject(&one);
    assert_eq!(cache.get_for(&tenant(2)).await.unwrap().secret(), two.secret());
    assert_ne!(cache.get_for(&tenant(1)).await.unwrap().secret(), one.secret());
}

// C10
#[tokio::test(start_paused = true)]
async fn the_default_credentials_named_are_the_default_credentials() {
    let source = Source::of(hour);
    let cache = builder(&source).build();
    cache.get().await.unwrap();
    cache.get_for(&credentials()).await.unwrap();
    assert_eq!((source.count(), cache.len()), (1, 0));
}
