//! Fetches whose runtime stalls and may resume at any time (C3).

use std::time::Duration;

use shuttle::future::block_on;
use tokio::runtime::Runtime;
use tokio::time::{advance, elapsed, timeout};

use crate::support::*;

/// Creates a script in which the runtime of call `n` stalls during that call. The other calls bring
/// a token.
fn stalls_in_call(n: usize) -> impl Fn(usize) -> Answer + Send + Sync + 'static {
    move |call| match call == n {
        true => Answer::TokenAfterStall(token(call)),
        false => Answer::Token(token(call)),
    }
}

#[test]
fn waiters_replace_a_fetch_that_no_runtime_polls() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let stalled = Runtime::stalled();
        fixture.on(&stalled).spawn(|fixture| fixture.give_up(1)).join().unwrap();
        for got in join(fixture.callers(3)) {
            assert_eq!(call_of(&got.unwrap()), 1);
        }
        assert_eq!(fixture.handle.spawners().len(), 1, "the waiters replace the fetch once");
        assert!(elapsed() <= SILENCE + BEAT_INTERVAL, "the callers took {:?}", elapsed());
    });
}

#[test]
fn callers_with_short_timeouts_replace_a_silent_fetch() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let stalled = Runtime::stalled();
        fixture.on(&stalled).spawn(|fixture| fixture.give_up(1)).join().unwrap();
        let impatient = |_| {
            fixture.spawn(|fixture| {
                let tries = (0..6).filter_map(|_| {
                    let patience = Duration::from_millis(300);
                    block_on(timeout(patience, fixture.tokens.get())).ok()
                });
                let got = tries.map(Result::unwrap).next();
                assert_eq!(call_of(&got.expect("one of the tries gets a token")), 1);
            })
        };
        join((0..2).map(impatient));
        assert_eq!(fixture.handle.spawners().len(), 1);
    });
}

#[test]
fn a_fetch_that_shows_signs_of_life_is_not_replaced() {
    let duration = Duration::from_secs(5);
    explore(move || {
        let (fixture, _runtime) = CacheFixture::new(move |n| Answer::SlowToken(duration, token(n)));
        for got in join(fixture.callers(2)) {
            assert_eq!(call_of(&got.unwrap()), 1);
        }
        assert_eq!(elapsed(), duration);
    });
}

#[test]
fn a_renewal_that_shows_signs_of_life_is_not_replaced() {
    let duration = Duration::from_secs(5);
    explore(move || {
        let (fixture, _runtime) = CacheFixture::new(move |n| match n {
            1 => Answer::Token(token(n)),
            _ => Answer::SlowToken(duration, token(n)),
        });
        fixture.get().unwrap();
        advance(DUE);
        let hits = [(); 2].map(|()| fixture.spawn(|fixture| hit_regularly(fixture, 12)));
        join(hits);
        fixture.settle();
        assert_eq!(fixture.journal.count(), 2);
    });
}

/// The runtime comes back when the waiters are about to give up on it.
#[test]
fn a_fetch_that_completes_while_it_is_replaced() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::new(stalls_in_call(1));
        let stalling = Runtime::new();
        fixture.on(&stalling).spawn(|fixture| fixture.give_up(1)).join().unwrap();
        wait_until(|| fixture.journal.count() == 1);
        let callers = fixture.callers(2);
        let handle = stalling.handle().clone();
        let resume = fixture.spawn(move |_| {
            sleep(SILENCE);
            handle.resume();
        });
        resume.join().unwrap();
        let got: Vec<usize> = join(callers).into_iter().map(|got| call_of(&got.unwrap())).collect();
        fixture.on(&stalling).settle();
        fixture.settle();
        // The first fetch has completed in time, or it has changed nothing.
        assert_eq!(got[0], got[1]);
        assert_eq!(call_of(&fixture.get_at_once()), got[0]);
        assert_eq!(fixture.journal.count(), got[0]);
    });
}

#[test]
fn a_replaced_fetch_that_completes_late_changes_nothing() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::new(stalls_in_call(1));
        let stalling = Runtime::new();
        fixture.on(&stalling).spawn(|fixture| fixture.give_up(1)).join().unwrap();
        wait_until(|| fixture.journal.count() == 1);
        for got in join(fixture.callers(2)) {
            assert_eq!(call_of(&got.unwrap()), 2);
        }
        // It meets a rejection and another fetch.
        let second = fixture.get_at_once();
        let handle = stalling.handle().clone();
        let resume = fixture.spawn(move |_| handle.resume());
        fixture.reject(&second);
        let mut callers = fixture.callers(1);
        callers.push(fixture.on(&stalling).spawn(CacheFixture::get));
        resume.join().unwrap();
        for got in join(callers) {
            assert_eq!(call_of(&got.unwrap()), 3);
        }
        fixture.on(&stalling).settle();
        assert_eq!(call_of(&fixture.get_at_once()), 3);
        assert_eq!(fixture.journal.count(), 3);
    });
}

#[test]
fn a_runtime_that_ends_while_its_fetch_is_replaced() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::new(stalls_in_call(1));
        let stalling = Runtime::new();
        fixture.on(&stalling).spawn(|fixture| fixture.give_up(1)).join().unwrap();
        wait_until(|| fixture.journal.count() == 1);
        let callers = fixture.callers(2);
        let end = fixture.spawn(move |_| {
            sleep(SILENCE);
            drop(stalling);
        });
        for got in join(callers) {
            assert_eq!(call_of(&got.unwrap()), 2);
        }
        end.join().unwrap();
        assert_eq!(call_of(&fixture.get_at_once()), 2);
        assert_eq!(fixture.handle.spawners().len(), 1);
        assert_eq!(fixture.journal.count(), 2);
    });
}

// C6
#[test]
fn hits_replace_a_silent_renewal_once() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::new(stalls_in_call(2));
        fixture.get().unwrap();
        advance(DUE);
        let stalling = Runtime::new();
        fixture.on(&stalling).spawn(|fixture| fixture.get_at_once()).join().unwrap();
        wait_until(|| fixture.journal.count() == 2);
        let before = fixture.handle.spawners().len();
        let hits = [(); 2].map(|()| fixture.spawn(|fixture| hit_regularly(fixture, 6)));
        join(hits);
        fixture.settle();
        assert_eq!(call_of(&fixture.get_at_once()), 3);
        assert_eq!(fixture.handle.spawners().len(), before + 1);
        assert_eq!(fixture.journal.count(), 3);
    });
}

// C6
#[test]
fn a_renewal_that_completes_while_hits_replace_it() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::new(stalls_in_call(2));
        fixture.get().unwrap();
        advance(DUE);
        let stalling = Runtime::new();
        fixture.on(&stalling).spawn(|fixture| fixture.get_at_once()).join().unwrap();
        wait_until(|| fixture.journal.count() == 2);
        let handle = stalling.handle().clone();
        let resume = fixture.spawn(move |_| {
            sleep(SILENCE);
            handle.resume();
        });
        let hits = [(); 2].map(|()| fixture.spawn(|fixture| hit_regularly(fixture, 6)));
        join(hits);
        resume.join().unwrap();
        fixture.on(&stalling).settle();
        fixture.settle();
        // The renewal has completed in time, or it has changed nothing.
        assert_eq!(call_of(&fixture.get_at_once()), fixture.journal.count());
        assert!(fixture.journal.count() <= 3);
    });
}

/// Takes a token every 250 ms, and never waits for it.
fn hit_regularly(fixture: &CacheFixture, times: usize) {
    for _ in 0..times {
        fixture.get_at_once();
        sleep(BEAT_INTERVAL);
    }
}
