//! A runtime ends, and its fetches with it.

use tower::ServiceExt;
use tower_oauth2::{OAuth2Layer, Origins, TokenErrorKind};

use super::*;

// C3
#[test]
fn a_waiter_survives_the_end_of_many_runtimes() {
    let (source, _gate) = holding(5);
    let tokens = tokens(&source);
    let healthy = paused();
    let mut waiter = caller(&tokens);
    for n in 1..=5 {
        let short_lived = paused();
        let _owner = start_fetch(&short_lived, &tokens);
        assert_eq!(source.count(), n);
        poll_pending(&healthy, &mut waiter);
        drop(short_lived);
        assert!(waiter.is_woken(), "after {n} runtimes");
    }
    assert_eq!(secret_of(healthy.block_on(waiter)), "token-6");
}

// C3, C9
#[test]
fn a_lost_fetch_is_not_a_failure() {
    let (source, _gate) = holding(4);
    let tokens = tokens(&source);
    // In each round, a fetch is lost, and then the fetch of the waiter that took over.
    for _ in 0..2 {
        let (first, second) = (paused(), paused());
        let _owner = start_fetch(&first, &tokens);
        let mut waiter = caller(&tokens);
        poll_pending(&second, &mut waiter);
        drop(first);
        poll_pending(&second, &mut waiter);
        second.block_on(settle());
        drop(second);
    }
    assert_eq!(source.count(), 4);
    assert_eq!(secret_of(paused().block_on(tokens.get())), "token-5", "no back-off");
}

// C3
#[test]
fn a_caller_that_loses_two_fetches_of_its_own_is_interrupted() {
    let (source, _gate) = holding(2);
    let tokens = tokens(&source);
    let mut unlucky = caller(&tokens);
    for n in 1..=2 {
        let runtime = paused();
        poll_pending(&runtime, &mut unlucky);
        runtime.block_on(settle());
        assert_eq!(source.count(), n);
        drop(runtime);
    }
    let healthy = paused();
    let error = healthy.block_on(unlucky).unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::Interrupted);
    assert_eq!(error.retry_in(), None, "others are not affected");
    assert_eq!(secret_of(healthy.block_on(tokens.get())), "token-3");
}

/// Creates a source whose tokens are due for renewal when they arrive. The first `lost` renewals
/// hang.
fn due_source(lost: usize) -> ScriptedSource {
    ScriptedSource::new(move |n, _| async move {
        if (2..2 + lost).contains(&n) {
            std::future::pending::<()>().await;
        }
        let age = secs(if n == 1 { 820 } else { 0 });
        Ok(lasting(n, secs(1000)).with_age(age))
    })
}

// C3, C6
#[test]
fn lost_renewals_do_not_lengthen_the_pause() {
    let source = due_source(10);
    let tokens = tokens(&source);
    assert_eq!(secret_of(paused().block_on(tokens.get())), "token-1");
    // One runtime a call. Each ends before its renewal does.
    for n in 1..=10 {
        let runtime = paused();
        runtime.block_on(async {
            advance(secs(2 * n)).await;
            assert_eq!(secret_of(tokens.get().await), "token-1");
            settle().await;
        });
        assert_eq!(source.count() as u64, 1 + n, "a lost renewal is tried again after a second");
    }
    paused().block_on(async {
        advance(secs(22)).await;
        assert_eq!(secret_of(tokens.get().await), "token-1");
        settle().await;
        assert_eq!(secret_of(tokens.get().await), "token-12");
    });
}

// C3, C9
#[test]
fn one_runtime_for_each_call_over_a_shared_cache_works() {
    // Every second fetch hangs, and its caller gives up with its runtime.
    let source = ScriptedSource::new(|n, _| async move {
        if n % 2 == 1 {
            std::future::pending::<()>().await;
        }
        Ok(lasting(n, Duration::ZERO))
    });
    let tokens = tokens(&source);
    let layer = OAuth2Layer::new(tokens, Origins::any());
    for call in 1..=20 {
        let (given_up, healthy) = (paused(), paused());
        let api = Api::always(200);
        let mut abandoned = tokio_test::task::spawn(layer.layer(api.clone()).oneshot(get("/")));
        given_up.block_on(async { assert!(abandoned.poll().is_pending()) });
        given_up.block_on(settle());
        let mut waiting = tokio_test::task::spawn(layer.layer(api.clone()).oneshot(get("/")));
        healthy.block_on(async { assert!(waiting.poll().is_pending()) });
        drop((given_up, abandoned));
        let response = healthy.block_on(waiting).unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(api.tokens(), [format!("token-{}", 2 * call)]);
    }
    assert_eq!(source.count(), 40);
}

// C3
#[test]
fn a_runtime_dropped_in_a_panic_is_no_panic_of_the_source() {
    let (source, _gate) = holding(3);
    let tokens = tokens(&source);
    for n in 1..=3 {
        let (tokens, count) = (tokens.clone(), source.clone());
        let thread = std::thread::spawn(move || {
            let runtime = paused();
            let _owner = start_fetch(&runtime, &tokens);
            assert_eq!(count.count(), n);
            // Unwinding drops the runtime, and with it the fetch.
            panic!("on purpose");
        });
        assert!(thread.join().is_err());
    }
    assert_eq!(source.count(), 3);
    assert_eq!(secret_of(paused().block_on(tokens.get())), "token-4", "nothing is remembered");
}
