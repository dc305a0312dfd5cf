//! Rejections: none is lost, and none counts twice.

use tower_oauth2_races::{Backoff, Cause};

use crate::support::*;

// C8
#[test]
fn a_token_that_several_reject_is_replaced_once() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        let first = world.get().unwrap();
        let rejecting = |_| {
            let first = first.clone();
            world.spawn(move |world| {
                world.reject(&first);
                assert_eq!(issue(&world.get().unwrap()), 2);
            })
        };
        let rejecting: Vec<_> = (0..2).map(rejecting).collect();
        join(world.callers(1)).pop().unwrap().unwrap();
        join(rejecting);
        assert_eq!(issue(&world.get_at_once()), 2);
        assert_eq!(world.journal.causes(), [Cause::Cold, Cause::Rejected]);
        assert_nobody_slept();
    });
}

// C8
#[test]
fn those_who_waited_are_not_given_what_was_rejected_before_they_came_to_run() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        let callers = world.callers(2);
        let rejecting = world.spawn(|world| {
            for _ in 0..2 {
                let got = world.get().unwrap();
                world.reject(&got);
            }
        });
        rejecting.join().unwrap();
        for got in join(callers) {
            got.unwrap();
        }
        assert!(world.journal.count() <= 3);
        assert_nobody_slept();
    });
}

// C8
#[test]
fn nor_are_those_who_come_to_run_after_its_end() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        let callers = world.callers(2);
        let rejecting = world.spawn(|world| {
            let got = world.get().unwrap();
            world.reject(&got);
            tokio::time::advance(LIFETIME);
        });
        rejecting.join().unwrap();
        for got in join(callers) {
            got.unwrap();
        }
    });
}

// C8
#[test]
fn a_rejected_token_stays_known_across_flights_that_fail() {
    explore(|| {
        let (world, _runtime) = World::new(
            |n| if n == 2 || n == 3 { Answer::Fail } else { Answer::Token(token(n)) },
            |cache| cache.transient_backoff(Backoff::none()),
        );
        let first = world.get().unwrap();
        let rejecting = world.spawn(move |world| world.reject(&first));
        let _ = join(world.callers(3));
        rejecting.join().unwrap();
        while world.get().is_err() {}
        for call in &world.journal.calls()[1..] {
            assert_eq!(call.cause, Cause::Rejected);
            assert_eq!(call.shown.as_deref(), Some("token-1"));
        }
        assert_eq!(issue(&world.get_at_once()), 4);
        assert_nobody_slept();
    });
}

// C8
#[test]
fn what_a_renewal_brings_again_is_not_handed_out_once_it_was_rejected() {
    explore(|| {
        // The server hands out its cached token, but when it is told of a rejection.
        let script = |n| Answer::Token(if n == 2 { reissued(1, n) } else { token(n) });
        let (world, _runtime) = World::new(script, |cache| cache);
        let first = world.get().unwrap();
        tokio::time::advance(LIFETIME * 8 / 10);
        let mut callers = world.callers(2);
        callers.push(world.spawn(move |world| {
            world.reject(&first);
            world.get()
        }));
        for got in join(callers) {
            got.unwrap();
        }
        world.settle();
        assert!(world.journal.count() <= 3, "{:?}", world.journal.causes());
        world.get_at_once();
    });
}

// C8, C9
#[test]
fn a_renewal_that_fails_after_the_rejection_fails_nobody() {
    explore(|| {
        let script = |n| if n == 2 { Answer::Fail } else { Answer::Token(token(n)) };
        let (world, _runtime) = World::new(script, |cache| cache);
        let first = world.get().unwrap();
        tokio::time::advance(LIFETIME * 8 / 10);
        // The renewal is on its way before the rejection, or has failed, or never begins.
        let caller = world.spawn(|world| world.get_at_once());
        caller.join().unwrap();
        let rejecting = world.spawn(move |world| {
            world.reject(&first);
            world.get().unwrap()
        });
        assert_eq!(issue(&rejecting.join().unwrap()), 3);
        assert_eq!(world.journal.causes(), [Cause::Cold, Cause::Renewal, Cause::Rejected]);
        let shown = &world.journal.calls()[2].shown;
        assert_eq!(shown.as_deref(), Some("token-1"));
    });
}

// C8
#[test]
fn a_late_rejection_costs_nothing() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        let first = world.get().unwrap();
        world.reject(&first);
        let late = world.spawn(move |world| {
            world.reject(&first);
            world.reject(&first);
        });
        for got in join(world.callers(2)) {
            assert_eq!(issue(&got.unwrap()), 2);
        }
        late.join().unwrap();
        assert_eq!(issue(&world.get_at_once()), 2);
        assert_eq!(world.journal.count(), 2);
    });
}
