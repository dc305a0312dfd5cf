//! Callers without a tokio runtime, and callers on one without a timer.

use std::task::Poll;

use tower_oauth2::TokenErrorKind;

use super::*;

/// Creates a runtime whose time driver is not enabled.
fn without_timer() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

#[track_caller]
fn assert_no_runtime<T>(result: Result<T, TokenError>) {
    let Err(error) = result else { panic!("got a token") };
    assert_eq!(error.kind(), TokenErrorKind::NoRuntime);
}

// C3
#[test]
fn a_runtime_without_a_timer_is_a_clear_error() {
    let source = ScriptedSource::tokens(hour);
    let tokens = tokens(&source);
    for _ in 0..3 {
        assert_no_runtime(without_timer().block_on(tokens.get()));
    }
    assert_eq!(source.count(), 0);
    assert_eq!(secret_of(paused().block_on(tokens.get())), "token-1", "nothing is remembered");
}

// C3
#[test]
fn a_waiter_on_a_runtime_without_a_timer_is_a_clear_error() {
    let (source, gate) = holding(1);
    let tokens = tokens(&source);
    let runtime = paused();
    let owner = start_fetch(&runtime, &tokens);
    let other = without_timer();
    let mut waiter = caller(&tokens);
    let Poll::Ready(result) = other.block_on(async { waiter.poll() }) else {
        panic!("waits without a timer");
    };
    assert_no_runtime(result);
    gate.add_permits(1);
    assert_eq!(secret_of(runtime.block_on(owner)), "token-1", "the fetch goes on");
    assert_eq!(secret_of(other.block_on(tokens.get())), "token-1", "a hit needs no timer");
}

// C3
#[test]
fn a_waiter_without_a_runtime_is_a_clear_error() {
    let (source, gate) = holding(1);
    let tokens = tokens(&source);
    let runtime = paused();
    let owner = start_fetch(&runtime, &tokens);
    let Poll::Ready(result) = caller(&tokens).poll() else {
        panic!("waits without a runtime");
    };
    assert_no_runtime(result);
    gate.add_permits(1);
    assert_eq!(secret_of(runtime.block_on(owner)), "token-1", "the fetch goes on");
    let Poll::Ready(hit) = caller(&tokens).poll() else { panic!("a hit waits for nothing") };
    assert_eq!(secret_of(hit), "token-1");
}

// C3, C6
#[test]
fn a_hit_without_a_timer_leaves_the_renewal_to_others() {
    let source = ScriptedSource::new(|n, _| async move {
        let age = secs(if n == 1 { 820 } else { 0 });
        Ok(lasting(n, secs(1000)).with_age(age))
    });
    let tokens = tokens(&source);
    let healthy = paused();
    healthy.block_on(tokens.get()).unwrap();
    let other = without_timer();
    for _ in 0..3 {
        assert_eq!(secret_of(other.block_on(tokens.get())), "token-1");
        other.block_on(settle());
    }
    assert_eq!(source.count(), 1);
    healthy.block_on(async {
        advance(secs(2)).await;
        assert_eq!(secret_of(tokens.get().await), "token-1");
        settle().await;
        assert_eq!(secret_of(tokens.get().await), "token-2");
    });
}

// C3, C11
#[test]
fn keeping_warm_needs_a_timer() {
    let tokens = tokens(&ScriptedSource::tokens(hour));
    let runtime = without_timer();
    assert_no_runtime(runtime.block_on(async { tokens.keep_warm() }));
    // The next runtime can still do it.
    paused().block_on(async {
        tokens.keep_warm().unwrap();
        settle().await;
        assert!(tokio_test::task::spawn(tokens.get()).poll().is_ready(), "fetched ahead");
    });
}

// C11, C6
#[test]
fn keeping_warm_renews_after_a_hit_without_a_timer() {
    let source = ScriptedSource::tokens(|n| lasting(n, secs(1000)));
    let tokens = tokens(&source);
    let (driven, other) =
        (paused(), Builder::new_current_thread().start_paused(true).build().unwrap());
    driven.block_on(async {
        tokens.keep_warm().unwrap();
        settle().await;
    });
    // The renewal is due after 800 s at the latest. This hit finds that out, but cannot start it,
    // and other hits do not look again for 250 ms.
    other.block_on(async {
        advance(secs(801)).await;
        assert_eq!(secret_of(tokens.get().await), "token-1");
    });
    driven.block_on(async {
        advance(secs(801)).await;
        // A task that looked again and again without a pause would not let the clock go on.
        settle().await;
        assert_eq!(source.count(), 2, "without a caller");
    });
}
