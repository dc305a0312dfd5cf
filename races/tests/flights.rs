//! Miss, drop, failure, panic, a runtime that goes away.

use std::error::Error;

use shuttle::rand::{Rng, thread_rng};
use tokio::runtime::Runtime;
use tower_oauth2_races::{Backoff, TokenError, TokenErrorKind};

use crate::support::*;

// C2
#[test]
fn callers_that_miss_at_once_make_one_token_request() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        for got in join(world.callers(3)) {
            assert_eq!(issue(&got.unwrap()), 1);
        }
        assert_eq!(world.journal.count(), 1);
        assert_nobody_slept();
    });
}

// C3
#[test]
fn callers_that_are_dropped_fail_nobody() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        let gone = world.spawn(|world| world.give_up(thread_rng().gen_range(1..4)));
        let callers = world.callers(2);
        gone.join().unwrap();
        for got in join(callers) {
            assert_eq!(issue(&got.unwrap()), 1);
        }
        assert_eq!(world.journal.count(), 1);
        assert_nobody_slept();
    });
}

// C3
#[test]
fn a_token_arrives_although_everyone_has_gone() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        let gone = |_| world.spawn(|world| world.give_up(1));
        join((0..2).map(gone));
        world.settle();
        assert_eq!(issue(&world.get_at_once()), 1);
        assert_eq!(world.journal.count(), 1);
    });
}

// C4
#[test]
fn a_failure_reaches_all_who_waited_and_is_remembered_for_the_others() {
    explore(|| {
        let (world, _runtime) = World::new(|_| Answer::Fail, |cache| cache);
        let errors: Vec<TokenError> =
            join(world.callers(3)).into_iter().map(|got| got.unwrap_err()).collect();
        for error in &errors {
            let cause =
                |error: &TokenError| std::ptr::from_ref(error.source().unwrap()).cast::<()>();
            assert_eq!(cause(error), cause(&errors[0]), "one shared cause");
            assert!(error.retry_in().is_some());
        }
        assert_eq!(world.journal.count(), 1);
        assert_nobody_slept();
    });
}

// C4, C9
#[test]
fn nobody_is_given_a_failure_from_before_they_asked_when_none_is_remembered() {
    explore(|| {
        let (world, _runtime) =
            World::new(|_| Answer::Fail, |cache| cache.transient_backoff(Backoff::none()));
        let ask = |_| {
            world.spawn(|world| {
                let asked = world.journal.moment();
                let error = world.get().unwrap_err();
                let text = error.source().unwrap().to_string();
                let number: usize = text.strip_prefix("down-").unwrap().parse().unwrap();
                let call = &world.journal.calls()[number - 1];
                assert!(call.ended.unwrap() > asked, "a failure of the past");
            })
        };
        join((0..3).map(ask));
        assert!(world.journal.count() <= 3);
        assert_nobody_slept();
    });
}

// C3
#[test]
fn when_a_flight_panics_one_of_those_who_waited_takes_over() {
    explore(|| {
        let (world, _runtime) = World::new(
            |n| if n == 1 { Answer::Panic } else { Answer::Token(token(n)) },
            |cache| cache,
        );
        for got in join(world.callers(3)) {
            assert_eq!(issue(&got.unwrap()), 2);
        }
        assert_eq!(world.journal.count(), 2);
        assert_nobody_slept();
    });
}

// C3
#[test]
fn a_caller_takes_over_once_at_most() {
    explore(|| {
        // Nothing is remembered that would keep it from more.
        let (world, _runtime) =
            World::new(|_| Answer::Panic, |cache| cache.transient_backoff(Backoff::none()));
        for got in join(world.callers(3)) {
            assert_eq!(got.unwrap_err().kind(), TokenErrorKind::Interrupted);
        }
        let spawners = world.handle.spawners();
        for spawner in &spawners {
            let flights = spawners.iter().filter(|other| *other == spawner).count();
            assert!(flights <= 2, "one caller began {flights} flights");
        }
        assert_nobody_slept();
    });
}

// C3
#[test]
fn when_a_runtime_goes_away_those_who_wait_on_another_take_over() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        let first = Runtime::new();
        let abroad = World { handle: first.handle().clone(), ..world.clone() };
        let leader = abroad.spawn(|abroad| abroad.give_up(1));
        let callers = world.callers(2);
        let end = world.spawn(|_| drop(first));
        leader.join().unwrap();
        end.join().unwrap();
        for got in join(callers) {
            // The leader may have taken over too, on the runtime that went away.
            assert!(got.is_ok() || abroad.handle.spawners().len() == 2, "{got:?}");
        }
        assert!(world.journal.count() <= 2);
        assert_nobody_slept();
    });
}
