//! C2, C3, C4: single flight. Callers, waiters and runtimes may be dropped at any time.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::advance;
use tower::{BoxError, Service};
use tower_oauth2::{AccessToken, TokenErrorKind, TokenRequest, Tokens};

use crate::support::*;

/// Creates a source that responds to a request once the semaphore has a permit.
fn gated() -> (ScriptedSource, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let source = ScriptedSource::new(move |n, _| {
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
async fn concurrent_misses_make_one_token_request() {
    let (source, gate) = gated();
    let tokens = tokens(&source);
    let callers: Vec<_> = (0..1000)
        .map(|_| {
            let tokens = tokens.clone();
            tokio::spawn(async move { tokens.get().await })
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
async fn a_dropped_caller_does_not_affect_others() {
    // The first caller is dropped before it is polled, while it waits, and before its last poll.
    for polls in 0..3 {
        let (source, gate) = gated();
        let tokens = tokens(&source);
        let mut first = tokio_test::task::spawn(tokens.get());
        let mut waiter = tokio_test::task::spawn(tokens.get());
        for _ in 0..polls {
            assert!(first.poll().is_pending());
            settle().await;
        }
        assert!(waiter.poll().is_pending());
        drop(first);
        gate.add_permits(1);
        assert_eq!(waiter.await.unwrap().secret(), "token-1", "after {polls} polls");
        assert_eq!(source.count(), 1);
    }
}

// C3
#[tokio::test(start_paused = true)]
async fn a_token_arrives_although_all_callers_were_dropped() {
    let (source, gate) = gated();
    let tokens = tokens(&source);
    let mut caller = tokio_test::task::spawn(tokens.get());
    assert!(caller.poll().is_pending());
    drop(caller);
    gate.add_permits(1);
    settle().await;
    assert_eq!(tokens.get().await.unwrap().secret(), "token-1");
    assert_eq!(source.count(), 1);
}

fn panicking(times: usize) -> ScriptedSource {
    ScriptedSource::new(move |n, _| async move {
        assert!(n > times, "on purpose");
        Ok(hour(n))
    })
}

// C3
#[tokio::test(start_paused = true)]
async fn a_waiter_replaces_a_fetch_that_panics() {
    let source = panicking(1);
    let tokens = tokens(&source);
    let (one, two) = tokio::join!(tokens.get(), tokens.get());
    assert_eq!((one.unwrap().secret(), two.unwrap().secret()), ("token-2", "token-2"));
    assert_eq!(source.count(), 2);
}

// C3
#[tokio::test(start_paused = true)]
async fn two_panics_in_a_row_are_an_error() {
    let source = panicking(usize::MAX);
    let tokens = tokens(&source);
    let (one, two) = tokio::join!(tokens.get(), tokens.get());
    for error in [one.unwrap_err(), two.unwrap_err()] {
        assert_eq!(error.kind(), TokenErrorKind::Interrupted);
    }
    assert_eq!(source.count(), 2);
    // The failure is remembered.
    assert!(tokens.get().await.unwrap_err().retry_in().is_some());
    assert_eq!(source.count(), 2);
}

// C3, C6
#[tokio::test(start_paused = true)]
async fn a_renewal_that_panics_is_repeated() {
    let source = ScriptedSource::new(|n, _| async move {
        assert!(n != 2, "on purpose");
        Ok(lasting(n, secs(1000)))
    });
    let tokens = tokens(&source);
    tokens.get().await.unwrap();
    advance(secs(800)).await;
    for (count, secret) in [(2, "token-1"), (3, "token-3")] {
        assert_eq!(tokens.get().await.unwrap().secret(), "token-1");
        settle().await;
        assert_eq!(source.count(), count);
        assert_eq!(tokens.get().await.unwrap().secret(), secret);
        advance(secs(40)).await;
    }
}

/// Panics when it is cloned, except for the first time.
struct PanicsInClone(Arc<AtomicUsize>);

impl Clone for PanicsInClone {
    fn clone(&self) -> Self {
        assert!(self.0.fetch_add(1, Ordering::Relaxed) < 1, "on purpose");
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
        std::future::ready(Ok(hour(1).with_expires_in(Duration::ZERO)))
    }
}

// C3
#[tokio::test(start_paused = true)]
async fn a_source_that_panics_in_clone_is_an_interrupted_fetch() {
    let tokens = Tokens::new(credentials(), PanicsInClone(Arc::default()));
    tokens.get().await.unwrap();
    for _ in 0..2 {
        assert_eq!(tokens.get().await.unwrap_err().kind(), TokenErrorKind::Interrupted);
    }
}

// C3
#[test]
fn a_waiter_replaces_a_fetch_whose_runtime_ended() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (source, gate) = gated();
    let tokens = tokens(&source);

    let ending = runtime();
    let mut first = pin!(tokens.get());
    let mut context = Context::from_waker(Waker::noop());
    ending.block_on(async {
        assert!(first.as_mut().poll(&mut context).is_pending());
        settle().await;
    });
    assert_eq!(source.count(), 1);

    let healthy = runtime();
    let mut waiter = tokio_test::task::spawn(tokens.get());
    healthy.block_on(async { assert!(waiter.poll().is_pending()) });
    drop(ending);
    assert!(waiter.is_woken(), "no caller waits for a runtime that has ended");
    gate.add_permits(1);
    assert_eq!(healthy.block_on(waiter).unwrap().secret(), "token-2");
    assert_eq!(healthy.block_on(first).unwrap().secret(), "token-2");
}

// C3
#[test]
fn a_miss_without_a_runtime_is_an_error() {
    let source = ScriptedSource::tokens(hour);
    let tokens = tokens(&source);
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(result) = pin!(tokens.get()).poll(&mut context) else {
        panic!("nothing to wait for");
    };
    assert_eq!(result.unwrap_err().kind(), TokenErrorKind::NoRuntime);
    assert_eq!(source.count(), 0);
    // The error is not remembered.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    assert_eq!(runtime.block_on(tokens.get()).unwrap().secret(), "token-1");
}

// C3, C6
#[test]
fn a_hit_outside_of_a_runtime_leaves_the_renewal_to_others() {
    let source = ScriptedSource::tokens(|n| {
        let (age, lifetime) = (secs(850), secs(1000));
        lasting(n, lifetime).with_age(age)
    });
    let tokens = tokens(&source);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(tokens.get()).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    assert!(pin!(tokens.get()).poll(&mut context).is_ready());
    assert_eq!(source.count(), 1);
}

// C4
#[tokio::test(start_paused = true)]
async fn a_failure_reaches_all_waiters() {
    let source = ScriptedSource::new(|_, _| async { Err(BoxError::from("on purpose")) });
    let tokens = tokens(&source);
    let (one, two) = tokio::join!(tokens.get(), tokens.get());
    let (one, two) = (one.unwrap_err(), two.unwrap_err());
    let cause = |error: &tower_oauth2::TokenError| {
        let cause = std::error::Error::source(error).unwrap();
        std::ptr::from_ref(cause).cast::<()>()
    };
    assert_eq!(cause(&one), cause(&two), "one shared cause");
    assert_eq!(source.count(), 1);
}
