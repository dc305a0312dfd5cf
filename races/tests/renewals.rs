//! Renewal ahead of expiry, and the task that keeps a token warm (C6, C11).

use std::time::Duration;

use shuttle::future::block_on;
use shuttle::thread;
use tokio::runtime::Runtime;
use tokio::time::{advance, elapsed};
use tower_oauth2_races::source::Cause;

use crate::support::*;

/// The age from which on a token counts as no longer young.
const NO_LONGER_YOUNG: Duration = Duration::from_secs(30);

/// A time between the pause after a failed renewal and the token's remaining life.
const RETRY: Duration = Duration::from_secs(4);

// C2, C6
#[test]
fn a_due_token_is_renewed_once_and_no_caller_waits() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        fixture.get().unwrap();
        advance(DUE);
        join((0..3).map(|_| fixture.spawn(CacheFixture::get_at_once)));
        fixture.settle();
        assert_eq!(call_of(&fixture.get_at_once()), 2);
        assert_eq!(fixture.journal.causes(), [Cause::Cold, Cause::Renewal]);
        assert_eq!(elapsed(), DUE);
    });
}

// C6
#[test]
fn a_failed_renewal_displaces_nothing_and_is_repeated() {
    for answer in [|| Answer::Fail, || Answer::Panic] {
        explore(move || {
            let script = move |n| if n == 2 { answer() } else { Answer::Token(token(n)) };
            let (fixture, _runtime) = CacheFixture::new(script);
            fixture.get().unwrap();
            advance(DUE);
            let got = join((0..3).map(|_| fixture.spawn(CacheFixture::get_at_once)));
            assert!(got.iter().all(|token| call_of(token) == 1));
            sleep(RETRY);
            assert_eq!(fixture.journal.count(), 2);
            fixture.get_at_once();
            fixture.settle();
            assert_eq!(fixture.journal.causes()[1..], [Cause::Renewal, Cause::Renewal]);
            assert_eq!(call_of(&fixture.get_at_once()), 3);
        });
    }
}

// C3, C6
#[test]
fn a_renewal_whose_runtime_ends_is_repeated() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        fixture.get().unwrap();
        advance(DUE);
        let ending = Runtime::new();
        let elsewhere = fixture.on(&ending);
        let first = elsewhere.spawn(CacheFixture::get_at_once);
        let end = fixture.spawn(|_| drop(ending));
        let second = fixture.spawn(CacheFixture::get_at_once);
        first.join().unwrap();
        end.join().unwrap();
        second.join().unwrap();
        elsewhere.settle();
        fixture.settle();
        advance(RETRY);
        fixture.get_at_once();
        fixture.settle();
        assert_ne!(call_of(&fixture.get_at_once()), 1);
    });
}

// C9
#[test]
fn a_renewal_that_fails_after_the_end_fails_no_caller() {
    explore(|| {
        let script = |n| if n == 2 { Answer::Fail } else { Answer::Token(token(n)) };
        let (fixture, _runtime) = CacheFixture::new(script);
        fixture.get().unwrap();
        advance(DUE);
        fixture.get_at_once();
        let end = fixture.spawn(|fixture| {
            advance(USABLE - DUE);
            fixture.get().unwrap()
        });
        for got in join(fixture.callers(2)) {
            got.unwrap();
        }
        assert_eq!(call_of(&end.join().unwrap()), 3);
        assert_eq!(fixture.journal.count(), 3);
        fixture.settle();
        assert_eq!(gauge(FAILING_CREDENTIALS), 0.0);
    });
}

// C6, C8
#[test]
fn a_renewal_and_a_rejection_share_one_token_request() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let first = fixture.get().unwrap();
        advance(DUE);
        let mut callers = fixture.callers(2);
        callers.push(fixture.spawn(move |fixture| {
            fixture.reject(&first);
            fixture.get()
        }));
        for got in join(callers) {
            got.unwrap();
        }
        fixture.settle();
        assert_ne!(call_of(&fixture.get_at_once()), 1);
        // Callers after the rejection join a running renewal.
        assert_eq!(fixture.journal.count(), 2, "{:?}", fixture.journal.causes());
    });
}

// C11
#[test]
fn a_keep_warm_task_ends_with_the_last_handle() {
    explore(|| {
        let (CacheFixture { cache, tokens, journal, handle }, _runtime) = CacheFixture::simple();
        drop(cache);
        let keep_warm = [(); 2].map(|()| {
            let (tokens, handle) = (tokens.clone(), handle.clone());
            thread::spawn(move || {
                handle.enter();
                tokens.keep_warm().unwrap();
            })
        });
        drop(tokens);
        join(keep_warm);
        block_on(handle.idle());
        assert!(journal.count() <= 1);
        assert_no_timer_was_needed();
    });
}

// C11
#[test]
fn a_keep_warm_task_replaces_a_rejected_token() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        fixture.tokens.keep_warm().unwrap();
        let got = fixture.get().unwrap();
        fixture.reject(&got);
        wait_until(|| fixture.journal.count() == 2);
        assert_eq!(call_of(&fixture.get().unwrap()), 2);
        assert_no_timer_was_needed();
    });
}

/// A caller takes a handle while the task of a dropped handle ends.
// C11
#[test]
fn a_handle_is_kept_warm_although_an_earlier_task_is_ending() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let first = fixture.cache.tokens(&credentials("a"));
        first.keep_warm().unwrap();
        wait_until(|| fixture.journal.count() == 1);
        let dropping = fixture.spawn(move |_| drop(first));
        let second = fixture.spawn(|fixture| {
            let tokens = fixture.cache.tokens(&credentials("a"));
            tokens.keep_warm().unwrap();
            tokens
        });
        dropping.join().unwrap();
        let second = second.join().unwrap();
        fixture.get_with(&second).unwrap().reject();
        wait_until(|| fixture.journal.count() == 2);
        drop(second);
        fixture.settle();
        assert_no_timer_was_needed();
    });
}

// C8, C11
#[test]
fn changes_notice_a_rejection_at_once() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let mut changes = fixture.tokens.changes();
        let first = block_on(changes.next()).unwrap();
        // The rejection of a young token would be followed by a pause.
        sleep(NO_LONGER_YOUNG);
        let rejecting = fixture.spawn(move |fixture| fixture.reject(&first));
        let second = block_on(changes.next()).unwrap();
        assert_eq!(call_of(&second), 2);
        rejecting.join().unwrap();
        assert_eq!(fixture.journal.count(), 2);
        assert_eq!(tokio::time::elapsed(), NO_LONGER_YOUNG, "a caller had to wait for a timer");
    });
}

// C8, C11
#[test]
fn changes_notice_a_token_that_another_caller_fetched() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let mut changes = fixture.tokens.changes();
        let first = block_on(changes.next()).unwrap();
        // The rejection of a young token would be followed by a pause.
        sleep(NO_LONGER_YOUNG);
        let replacing = fixture.spawn(move |fixture| {
            fixture.reject(&first);
            fixture.get().unwrap()
        });
        let second = block_on(changes.next()).unwrap();
        assert_eq!(call_of(&second), call_of(&replacing.join().unwrap()));
        assert_eq!(tokio::time::elapsed(), NO_LONGER_YOUNG, "a caller had to wait for a timer");
    });
}
