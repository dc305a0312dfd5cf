//! Single flight: who asks, who waits, and what happens when one of them goes away.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::advance;
use tower::{BoxError, Service};
use tower_oauth2::{AccessToken, TokenCache, TokenErrorKind, TokenRequest};

use crate::support::*;

/// A source that answers when the semaphore has a permit.
fn gated() -> (Source, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let source = Source::new(move |n, _| {
        let held = held.clone();
        async move {
            held.acquire().await?.forget();
            Ok(hour(n))
        }
    });
    (source, gate)
}

// C2, alf 42, 43
#[tokio::test(start_paused = true)]
async fn however_many_miss_at_once_one_token_request_is_made() {
    let (source, gate) = gated();
    let cache = TokenCache::new(credentials(), source.clone());
    let callers: Vec<_> = (0..1000)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.get().await })
        })
        .collect();
    settle().await;
    gate.add_permits(1000);
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap().secret(), "token-1");
    }
    assert_eq!(source.count(), 1);
}

// C3
#[tokio::test(start_paused = true)]
async fn a_dropped_leader_fails_nobody() {
    // Dropped at each of its awaits: before it was polled, while it waits, when all is done.
    for polls in 0..3 {
        let (source, gate) = gated();
        let cache = TokenCache::new(credentials(), source.clone());
        let mut leader = tokio_test::task::spawn(cache.get());
        let mut follower = tokio_test::task::spawn(cache.get());
        for _ in 0..polls {
            assert!(leader.poll().is_pending());
            settle().await;
        }
        assert!(follower.poll().is_pending());
        drop(leader);
        gate.add_permits(1);
        assert_eq!(follower.await.unwrap().secret(), "token-1", "after {polls} polls");
        assert_eq!(source.count(), 1);
    }
}

// C3
#[tokio::test(start_paused = true)]
async fn the_token_arrives_although_everyone_has_gone() {
    let (source, gate) = gated();
    let cache = TokenCache::new(credentials(), source.clone());
    let mut caller = tokio_test::task::spawn(cache.get());
    assert!(caller.poll().is_pending());
    drop(caller);
    gate.add_permits(1);
    settle().await;
    assert_eq!(cache.get().await.unwrap().secret(), "token-1");
    assert_eq!(source.count(), 1);
}

fn panicking(times: usize) -> Source {
    Source::new(move |n, _| async move {
        assert!(n > times, "as the test wants it");
        Ok(hour(n))
    })
}

// C3
#[tokio::test(start_paused = true)]
async fn when_a_flight_panics_one_of_those_who_waited_takes_over() {
    let source = panicking(1);
    let cache = TokenCache::new(credentials(), source.clone());
    let (one, two) = tokio::join!(cache.get(), cache.get());
    assert_eq!((one.unwrap().secret(), two.unwrap().secret()), ("token-2", "token-2"));
    assert_eq!(source.count(), 2);
}

// C3
#[tokio::test(start_paused = true)]
async fn when_it_panics_again_it_is_an_error() {
    let source = panicking(usize::MAX);
    let cache = TokenCache::new(credentials(), source.clone());
    let (one, two) = tokio::join!(cache.get(), cache.get());
    for error in [one.unwrap_err(), two.unwrap_err()] {
        assert_eq!(error.kind(), TokenErrorKind::Interrupted);
    }
    assert_eq!(source.count(), 2);
    // And is remembered as one.
    assert!(cache.get().await.unwrap_err().retry_in().is_some());
    assert_eq!(source.count(), 2);
}

// C3, C6
#[tokio::test(start_paused = true)]
async fn a_renewal_that_panics_is_tried_again() {
    let source = Source::new(|n, _| async move {
        assert!(n != 2, "as the test wants it");
        Ok(lasting(n, std::time::Duration::from_secs(1000)))
    });
    let cache = TokenCache::new(credentials(), source.clone());
    cache.get().await.unwrap();
    advance(std::time::Duration::from_secs(800)).await;
    for (count, secret) in [(2, "token-1"), (3, "token-3")] {
        assert_eq!(cache.get().await.unwrap().secret(), "token-1");
        settle().await;
        assert_eq!(source.count(), count);
        assert_eq!(cache.get().await.unwrap().secret(), secret);
        advance(std::time::Duration::from_secs(40)).await;
    }
}

/// Panics when it is cloned, but for the first time.
struct PanicsInClone(Arc<AtomicUsize>);

impl Clone for PanicsInClone {
    fn clone(&self) -> Self {
        assert!(self.0.fetch_add(1, Ordering::Relaxed) < 1, "as the test wants it");
        Self(self.0.clone())
    }
}

impl Service<TokenRequest> for PanicsInClone {
    type Response = AccessToken;
    type Error = BoxError;
    type Future = std::future::Ready<Result<AccessToken, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: TokenRequest) -> Self::Future {
        std::future::ready(Ok(hour(1).with_expires_in(std::time::Duration::ZERO)))
    }
}

// C3
#[tokio::test(start_paused = true)]
async fn a_source_that_panics_in_clone_leaves_the_cache_in_order() {
    let cache = TokenCache::new(credentials(), PanicsInClone(Arc::default()));
    cache.get().await.unwrap();
    for _ in 0..2 {
        assert_eq!(cache.get().await.unwrap_err().kind(), TokenErrorKind::Interrupted);
    }
}

// C3
#[test]
fn when_a_runtime_goes_away_in_mid_flight_another_takes_over() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (source, gate) = gated();
    let cache = TokenCache::new(credentials(), source.clone());

    let first = runtime();
    let mut leader = pin!(cache.get());
    let mut context = Context::from_waker(Waker::noop());
    first.block_on(async {
        assert!(leader.as_mut().poll(&mut context).is_pending());
        settle().await;
    });
    assert_eq!(source.count(), 1);

    let second = runtime();
    let mut follower = tokio_test::task::spawn(cache.get());
    second.block_on(async { assert!(follower.poll().is_pending()) });
    drop(first);
    assert!(follower.is_woken(), "nobody waits for a runtime that is gone");
    gate.add_permits(1);
    assert_eq!(second.block_on(follower).unwrap().secret(), "token-2");
    assert_eq!(second.block_on(leader).unwrap().secret(), "token-2");
}

// C3
#[test]
fn without_a_runtime_there_is_an_error() {
    let source = Source::of(hour);
    let cache = TokenCache::new(credentials(), source.clone());
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(result) = pin!(cache.get()).poll(&mut context) else {
        panic!("nothing to wait for");
    };
    assert_eq!(result.unwrap_err().kind(), TokenErrorKind::NoRuntime);
    assert_eq!(source.count(), 0);
    // It is not held against the source.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    assert_eq!(runtime.block_on(cache.get()).unwrap().secret(), "token-1");
}

// C3, C6
#[test]
fn a_hit_outside_of_a_runtime_leaves_the_renewal_to_others() {
    let source = Source::of(|n| {
        let (age, lifetime) = (Duration::from_secs(850), Duration::from_secs(1000));
        lasting(n, lifetime).with_age(age)
    });
    let cache = TokenCache::new(credentials(), source.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(cache.get()).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    assert!(pin!(cache.get()).poll(&mut context).is_ready());
    assert_eq!(source.count(), 1);
}

// C4
#[tokio::test(start_paused = true)]
async fn a_failure_reaches_everyone_who_waited_for_it() {
    let source = Source::new(|_, _| async { Err(BoxError::from("as the test wants it")) });
    let cache = TokenCache::new(credentials(), source.clone());
    let (one, two) = tokio::join!(cache.get(), cache.get());
    let (one, two) = (one.unwrap_err(), two.unwrap_err());
    let cause = |error: &tower_oauth2::TokenError| {
        let cause = std::error::Error::source(error).unwrap();
        std::ptr::from_ref(cause).cast::<()>()
    };
    assert_eq!(cause(&one), cause(&two), "one shared cause");
    assert_eq!(source.count(), 1);
}
