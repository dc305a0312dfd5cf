//! Renewal ahead, expiry, and a task that keeps a token warm.

use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;
use tokio::runtime::Runtime;
use tokio::time::advance;
use tower_oauth2_races::Cause;

use crate::support::*;

const DUE: Duration = Duration::from_secs(80);

// C2, C6
#[test]
fn a_token_that_is_due_is_renewed_once_and_nobody_waits() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        world.get().unwrap();
        advance(DUE);
        join((0..3).map(|_| world.spawn(|world| world.get_at_once())));
        world.settle();
        assert_eq!(issue(&world.get_at_once()), 2);
        assert_eq!(world.journal.causes(), [Cause::Cold, Cause::Renewal]);
        assert_eq!(tokio::time::elapsed(), DUE);
    });
}

// C6
#[test]
fn a_renewal_that_fails_displaces_nothing_and_is_tried_again_later() {
    for how in [|| Answer::Fail, || Answer::Panic] {
        explore(move || {
            let script = move |n| if n == 2 { how() } else { Answer::Token(token(n)) };
            let (world, _runtime) = World::new(script, |cache| cache);
            world.get().unwrap();
            advance(DUE);
            let got = join((0..3).map(|_| world.spawn(|world| world.get_at_once())));
            assert!(got.iter().all(|token| issue(token) == 1));
            world.settle();
            assert_eq!(world.journal.count(), 2);
            // After the back-off, and well before the end.
            advance(Duration::from_secs(4));
            world.get_at_once();
            world.settle();
            assert_eq!(world.journal.causes()[1..], [Cause::Renewal, Cause::Renewal]);
            assert_eq!(issue(&world.get_at_once()), 3);
        });
    }
}

// C3, C6
#[test]
fn a_renewal_whose_runtime_goes_away_displaces_nothing_and_is_tried_again_later() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        world.get().unwrap();
        advance(DUE);
        let first = Runtime::new();
        let abroad = World { handle: first.handle().clone(), ..world.clone() };
        let begin = abroad.spawn(|world| world.get_at_once());
        let end = world.spawn(|_| drop(first));
        let other = world.spawn(|world| world.get_at_once());
        begin.join().unwrap();
        end.join().unwrap();
        other.join().unwrap();
        abroad.settle();
        world.settle();
        advance(Duration::from_secs(4));
        world.get_at_once();
        world.settle();
        assert_ne!(issue(&world.get_at_once()), 1);
    });
}

// C5
#[test]
fn a_token_is_not_handed_out_after_its_end_wherever_the_clock_moves() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        world.get().unwrap();
        let clock = world.spawn(|_| {
            for _ in 0..3 {
                advance(Duration::from_secs(31));
                thread::yield_now();
            }
        });
        let callers = (0..2).map(|_| {
            world.spawn(|world| {
                for _ in 0..2 {
                    world.get().unwrap();
                }
            })
        });
        let callers: Vec<_> = callers.collect();
        clock.join().unwrap();
        join(callers);
    });
}

// C6, C8
#[test]
fn a_renewal_and_a_rejection_that_meet_make_one_token_request() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
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
        assert_ne!(issue(&world.get_at_once()), 1);
        // What was on its way at the rejection serves those who then wait.
        assert_eq!(world.journal.count(), 2, "{:?}", world.journal.causes());
    });
}

// C11
#[test]
fn what_keeps_a_token_warm_ends_with_the_last_handle() {
    explore(|| {
        let (world, runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        let World { cache, journal, handle } = world;
        let twice = |_| {
            let (cache, handle) = (cache.clone(), handle.clone());
            thread::spawn(move || {
                handle.enter();
                cache.keep_warm().unwrap();
            })
        };
        let twice: Vec<_> = (0..2).map(twice).collect();
        drop(cache);
        join(twice);
        shuttle::future::block_on(handle.idle());
        assert!(journal.count() <= 1);
        assert_nobody_slept();
        drop(runtime);
    });
}

// C11
#[test]
fn what_keeps_a_token_warm_hears_of_a_rejection() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        world.cache.keep_warm().unwrap();
        let got = world.get().unwrap();
        world.reject(&got);
        while world.journal.count() < 2 {
            thread::yield_now();
        }
        assert_eq!(issue(&world.get().unwrap()), 2);
        assert_nobody_slept();
    });
}

// C3
#[test]
fn what_nobody_drives_is_given_up_and_does_not_disturb_the_next_one() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        let first = Runtime::frozen();
        let abroad = World { handle: first.handle().clone(), ..world.clone() };
        abroad.spawn(|world| world.give_up(1)).join().unwrap();
        // One who waits for it already, and others when its time is up.
        let mut callers = world.callers(1);
        let later = |_| {
            world.spawn(|world| {
                (0..thread_rng().gen_range(0..8)).for_each(|_| thread::yield_now());
                world.get()
            })
        };
        advance(Duration::from_secs(602));
        callers.extend((0..2).map(later));
        let end = world.spawn(|_| drop(first));
        end.join().unwrap();
        for got in join(callers) {
            got.unwrap();
        }
        assert_eq!(world.journal.count(), 1);
    });
}

// C3
#[test]
fn what_nobody_drives_holds_nobody_up_once_its_time_is_over() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        let frozen = Runtime::frozen();
        let abroad = World { handle: frozen.handle().clone(), ..world.clone() };
        abroad.spawn(|world| world.give_up(1)).join().unwrap();
        let waiting = world.callers(1);
        advance(Duration::from_secs(602));
        for got in join(world.callers(1).into_iter().chain(waiting)) {
            got.unwrap();
        }
        assert_eq!(world.journal.count(), 1);
    });
}
