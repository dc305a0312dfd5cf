//! Renewal ahead of expiry, and the task that keeps a token warm (C6, C11).

use std::time::Duration;

use shuttle::future::block_on;
use shuttle::thread;
use tokio::runtime::Runtime;
use tokio::time::{advance, elapsed};
use tower_oauth2_races::source::Cause;

use crate::support::*;

/// Longer than the pause after a failed renewal, and shorter than the rest of the token's life.
const RETRY: Duration = Duration::from_secs(4);

// C2, C6
#[test]
fn a_due_token_is_renewed_once_and_no_caller_waits() {
    explore(|| {
        let (world, _runtime) = World::simple();
        world.get().unwrap();
        advance(DUE);
        join((0..3).map(|_| world.spawn(World::get_at_once)));
        world.settle();
        assert_eq!(call_of(&world.get_at_once()), 2);
        assert_eq!(world.journal.causes(), [Cause::Cold, Cause::Renewal]);
        assert_eq!(elapsed(), DUE);
    });
}

// C6
#[test]
fn a_failed_renewal_displaces_nothing_and_is_repeated() {
    for answer in [|| Answer::Fail, || Answer::Panic] {
        explore(move || {
            let script = move |n| if n == 2 { answer() } else { Answer::Token(token(n)) };
            let (world, _runtime) = World::new(script);
            world.get().unwrap();
            advance(DUE);
            let got = join((0..3).map(|_| world.spawn(World::get_at_once)));
            assert!(got.iter().all(|token| call_of(token) == 1));
            world.settle();
            assert_eq!(world.journal.count(), 2);
            advance(RETRY);
            world.get_at_once();
            world.settle();
            assert_eq!(world.journal.causes()[1..], [Cause::Renewal, Cause::Renewal]);
            assert_eq!(call_of(&world.get_at_once()), 3);
        });
    }
}

// C3, C6
#[test]
fn a_renewal_whose_runtime_ends_is_repeated() {
    explore(|| {
        let (world, _runtime) = World::simple();
        world.get().unwrap();
        advance(DUE);
        let ending = Runtime::new();
        let elsewhere = world.on(&ending);
        let first = elsewhere.spawn(World::get_at_once);
        let end = world.spawn(|_| drop(ending));
        let second = world.spawn(World::get_at_once);
        first.join().unwrap();
        end.join().unwrap();
        second.join().unwrap();
        elsewhere.settle();
        world.settle();
        advance(RETRY);
        world.get_at_once();
        world.settle();
        assert_ne!(call_of(&world.get_at_once()), 1);
    });
}

// C9
#[test]
fn a_renewal_that_fails_after_the_end_fails_no_caller() {
    explore(|| {
        let script = |n| if n == 2 { Answer::Fail } else { Answer::Token(token(n)) };
        let (world, _runtime) = World::new(script);
        world.get().unwrap();
        advance(DUE);
        world.get_at_once();
        let end = world.spawn(|world| {
            advance(USABLE - DUE);
            world.get().unwrap()
        });
        for got in join(world.callers(2)) {
            got.unwrap();
        }
        assert_eq!(call_of(&end.join().unwrap()), 3);
        assert_eq!(world.journal.count(), 3);
        world.settle();
        assert_eq!(gauge(FAILING_CREDENTIALS), 0.0);
    });
}

// C6, C8
#[test]
fn a_renewal_and_a_rejection_share_one_token_request() {
    explore(|| {
        let (world, _runtime) = World::simple();
        let first = world.get().unwrap();
        advance(DUE);
        let mut callers = world.callers(2);
        callers.push(world.spawn(move |world| {
            world.reject(&first);
            world.get()
        }));
        for got in join(callers) {
            got.unwrap();
        }
        world.settle();
        assert_ne!(call_of(&world.get_at_once()), 1);
        // Those who come after the rejection join a renewal that is running.
        assert_eq!(world.journal.count(), 2, "{:?}", world.journal.causes());
    });
}

// C11
#[test]
fn a_keep_warm_task_ends_with_the_last_handle() {
    explore(|| {
        let (World { cache, journal, handle }, _runtime) = World::simple();
        let keep_warm = [(); 2].map(|()| {
            let (cache, handle) = (cache.clone(), handle.clone());
            thread::spawn(move || {
                handle.enter();
                cache.keep_warm().unwrap();
            })
        });
        drop(cache);
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
        let (world, _runtime) = World::simple();
        world.cache.keep_warm().unwrap();
        let got = world.get().unwrap();
        world.reject(&got);
        wait_until(|| world.journal.count() == 2);
        assert_eq!(call_of(&world.get().unwrap()), 2);
        assert_no_timer_was_needed();
    });
}
