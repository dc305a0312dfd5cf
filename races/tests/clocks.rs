//! The end of a token by two clocks, which scenarios move apart (C5).

use std::time::Duration;

use shuttle::thread;
use tokio::time::advance;

use crate::support::*;

/// A third of a token's life.
const STEP: Duration = Duration::from_secs(31);

fn call_repeatedly(fixture: &CacheFixture) {
    for _ in 0..3 {
        fixture.get().unwrap();
    }
}

#[test]
fn no_caller_gets_a_token_after_its_end() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        fixture.get().unwrap();
        let clock = fixture.spawn(|_| {
            for _ in 0..3 {
                advance(STEP);
                thread::yield_now();
            }
        });
        let callers = [(); 2].map(|()| fixture.spawn(call_repeatedly));
        clock.join().unwrap();
        join(callers);
    });
}

/// Sends hits between two readings of the wall clock. A renewal is due and cannot succeed.
#[test]
fn a_hit_just_before_the_end_prolongs_nothing() {
    explore(|| {
        let script = |n| if n == 2 { Answer::Fail } else { Answer::Token(token(n)) };
        let (fixture, _runtime) = CacheFixture::new(script);
        fixture.get().unwrap();
        advance(DUE);
        fixture.get_at_once();
        fixture.settle();
        advance(USABLE - DUE - BEAT_INTERVAL / 2);
        let clock = fixture.spawn(|_| advance(BEAT_INTERVAL / 2));
        let callers = [(); 2].map(|()| fixture.spawn(call_repeatedly));
        clock.join().unwrap();
        join(callers);
    });
}

#[test]
fn a_suspend_ends_a_token() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        fixture.get().unwrap();
        let clock = fixture.spawn(|fixture| {
            for _ in 0..3 {
                fixture.suspend(STEP);
                thread::yield_now();
                advance(BEAT_INTERVAL);
                thread::yield_now();
            }
        });
        let callers = [(); 2].map(|()| fixture.spawn(call_repeatedly));
        clock.join().unwrap();
        join(callers);
        assert_ne!(call_of(&fixture.get().unwrap()), 1);
    });
}

#[test]
fn a_suspend_ends_a_token_before_its_waiters_run() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let callers = fixture.callers(2);
        let suspend = fixture.spawn(|fixture| {
            fixture.get().unwrap();
            fixture.suspend(LIFETIME);
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
        let (fixture, _runtime) = CacheFixture::simple();
        fixture.get().unwrap();
        let clock = fixture.spawn(|fixture| {
            for _ in 0..3 {
                fixture.set_wall_clock_back(STEP);
                thread::yield_now();
                advance(STEP);
                thread::yield_now();
            }
        });
        let callers = [(); 2].map(|()| fixture.spawn(call_repeatedly));
        clock.join().unwrap();
        join(callers);
        assert_ne!(call_of(&fixture.get().unwrap()), 1);
    });
}

#[test]
fn a_token_stays_expired_when_the_wall_clock_is_set_back() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        fixture.get().unwrap();
        let clock = fixture.spawn(|fixture| {
            fixture.suspend(LIFETIME);
            advance(BEAT_INTERVAL);
            thread::yield_now();
            fixture.set_wall_clock_back(LIFETIME);
        });
        let callers = [(); 2].map(|()| fixture.spawn(call_repeatedly));
        clock.join().unwrap();
        join(callers);
    });
}
