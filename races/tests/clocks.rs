//! The end of a token by two clocks, which scenarios move apart (C5).

use std::time::Duration;

use shuttle::thread;
use tokio::time::advance;

use crate::support::*;

/// A third of a token's life.
const STEP: Duration = Duration::from_secs(31);

fn call_repeatedly(world: &World) {
    for _ in 0..3 {
        world.get().unwrap();
    }
}

#[test]
fn no_caller_gets_a_token_after_its_end() {
    explore(|| {
        let (world, _runtime) = World::simple();
        world.get().unwrap();
        let clock = world.spawn(|_| {
            for _ in 0..3 {
                advance(STEP);
                thread::yield_now();
            }
        });
        let callers = [(); 2].map(|()| world.spawn(call_repeatedly));
        clock.join().unwrap();
        join(callers);
    });
}

/// Sends hits between two readings of the wall clock. A renewal is due and cannot succeed.
#[test]
fn a_hit_just_before_the_end_prolongs_nothing() {
    explore(|| {
        let script = |n| if n == 2 { Answer::Fail } else { Answer::Token(token(n)) };
        let (world, _runtime) = World::new(script);
        world.get().unwrap();
        advance(DUE);
        world.get_at_once();
        world.settle();
        advance(USABLE - DUE - BEAT_INTERVAL / 2);
        let clock = world.spawn(|_| advance(BEAT_INTERVAL / 2));
        let callers = [(); 2].map(|()| world.spawn(call_repeatedly));
        clock.join().unwrap();
        join(callers);
    });
}

#[test]
fn a_suspend_ends_a_token() {
    explore(|| {
        let (world, _runtime) = World::simple();
        world.get().unwrap();
        let clock = world.spawn(|world| {
            for _ in 0..3 {
                world.suspend(STEP);
                thread::yield_now();
                advance(BEAT_INTERVAL);
                thread::yield_now();
            }
        });
        let callers = [(); 2].map(|()| world.spawn(call_repeatedly));
        clock.join().unwrap();
        join(callers);
        assert_ne!(call_of(&world.get().unwrap()), 1);
    });
}

#[test]
fn a_suspend_ends_a_token_before_its_waiters_run() {
    explore(|| {
        let (world, _runtime) = World::simple();
        let callers = world.callers(2);
        let suspend = world.spawn(|world| {
            world.get().unwrap();
            world.suspend(LIFETIME);
            advance(BEAT_INTERVAL);
        });
        suspend.join().unwrap();
        for got in join(callers) {
            got.unwrap();
        }
    });
}

#[test]
fn a_wall_clock_that_is_set_back_prolongs_nothing() {
    explore(|| {
        let (world, _runtime) = World::simple();
        world.get().unwrap();
        let clock = world.spawn(|world| {
            for _ in 0..3 {
                world.set_wall_clock_back(STEP);
                thread::yield_now();
                advance(STEP);
                thread::yield_now();
            }
        });
        let callers = [(); 2].map(|()| world.spawn(call_repeatedly));
        clock.join().unwrap();
        join(callers);
        assert_ne!(call_of(&world.get().unwrap()), 1);
    });
}

#[test]
fn a_token_stays_expired_when_the_wall_clock_is_set_back() {
    explore(|| {
        let (world, _runtime) = World::simple();
        world.get().unwrap();
        let clock = world.spawn(|world| {
            world.suspend(LIFETIME);
            advance(BEAT_INTERVAL);
            thread::yield_now();
            world.set_wall_clock_back(LIFETIME);
        });
        let callers = [(); 2].map(|()| world.spawn(call_repeatedly));
        clock.join().unwrap();
        join(callers);
    });
}
