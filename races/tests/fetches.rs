//! Single flight: misses, dropped callers, failures, panics and runtimes that shut down.

use std::error::Error;
use std::pin::pin;
use std::task::Poll;

use shuttle::rand::{Rng, thread_rng};
use tokio::runtime::Runtime;
use tower_oauth2_races::source::Backoff;
use tower_oauth2_races::{TokenError, TokenErrorKind};

use crate::support::*;

// C2
#[test]
fn concurrent_misses_make_one_token_request() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        for got in join(fixture.callers(3)) {
            assert_eq!(call_of(&got.unwrap()), 1);
        }
        assert_eq!(fixture.journal.count(), 1);
        assert_no_timer_was_needed();
    });
}

// C3
#[test]
fn a_dropped_caller_does_not_affect_others() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let dropped = fixture.spawn(|fixture| fixture.give_up(thread_rng().gen_range(1..4)));
        let callers = fixture.callers(2);
        dropped.join().unwrap();
        for got in join(callers) {
            assert_eq!(call_of(&got.unwrap()), 1);
        }
        assert_eq!(fixture.journal.count(), 1);
        assert_no_timer_was_needed();
    });
}

// C3
#[test]
fn a_token_arrives_although_all_callers_were_dropped() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        join((0..2).map(|_| fixture.spawn(|fixture| fixture.give_up(1))));
        fixture.settle();
        assert_eq!(call_of(&fixture.get_at_once()), 1);
        assert_eq!(fixture.journal.count(), 1);
    });
}

// C4, C9
#[test]
fn a_failure_reaches_all_waiters_and_is_remembered() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::new(|_| Answer::Fail);
        let errors: Vec<TokenError> =
            join(fixture.callers(3)).into_iter().map(|got| got.unwrap_err()).collect();
        for error in &errors {
            let cause =
                |error: &TokenError| std::ptr::from_ref(error.source().unwrap()).cast::<()>();
            assert_eq!(cause(error), cause(&errors[0]), "all errors share one cause");
            assert!(error.retry_in().is_some());
        }
        assert_eq!(fixture.journal.count(), 1);
        assert_eq!(gauge(FAILING_CREDENTIALS), 1.0);
        assert_no_timer_was_needed();
    });
}

// C4, C9
#[test]
fn without_backoff_no_caller_gets_an_earlier_failure() {
    explore(|| {
        let (fixture, _runtime) =
            CacheFixture::with(|_| Answer::Fail, |cache| cache.transient_backoff(Backoff::none()));
        let ask = |_| {
            fixture.spawn(|fixture| {
                let called_at = fixture.journal.moment();
                let error = fixture.get().unwrap_err();
                let text = error.source().unwrap().to_string();
                let number: usize = text.strip_prefix("down-").unwrap().parse().unwrap();
                let call = &fixture.journal.calls()[number - 1];
                assert!(
                    call.ended.unwrap() > called_at,
                    "the failure is older than the call of get"
                );
            })
        };
        join((0..3).map(ask));
        assert!(fixture.journal.count() <= 3);
        assert_no_timer_was_needed();
    });
}

// C9
#[test]
fn the_gauge_of_failures_is_back_at_zero_after_a_success() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::with(
            |n| if n % 2 == 1 { Answer::Fail } else { Answer::Token(token(n)) },
            |cache| cache.transient_backoff(Backoff::none()),
        );
        let repeat = |_| {
            fixture.spawn(|fixture| {
                let got = loop {
                    if let Ok(got) = fixture.get() {
                        break got;
                    }
                };
                fixture.reject(&got);
            })
        };
        join((0..2).map(repeat));
        while fixture.get().is_err() {}
        fixture.settle();
        assert_eq!(gauge(FAILING_CREDENTIALS), 0.0);
    });
}

// C3
#[test]
fn a_waiter_replaces_a_fetch_that_panics() {
    explore(|| {
        let (fixture, _runtime) =
            CacheFixture::new(|n| if n == 1 { Answer::Panic } else { Answer::Token(token(n)) });
        for got in join(fixture.callers(3)) {
            assert_eq!(call_of(&got.unwrap()), 2);
        }
        assert_eq!(fixture.journal.count(), 2);
        assert_eq!(gauge(FAILING_CREDENTIALS), 0.0);
        assert_no_timer_was_needed();
    });
}

// C3, C9
#[test]
fn two_panics_in_a_row_are_a_failure() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::new(|_| Answer::Panic);
        for got in join(fixture.callers(3)) {
            assert_eq!(got.unwrap_err().kind(), TokenErrorKind::Interrupted);
        }
        assert_eq!(fixture.journal.count(), 2);
        assert_eq!(gauge(FAILING_CREDENTIALS), 1.0);
        assert_no_timer_was_needed();
    });
}

// C3, C4
#[test]
fn all_waiters_get_the_failure_of_the_second_panic() {
    explore(|| {
        let (fixture, _runtime) =
            CacheFixture::with(|_| Answer::Panic, |cache| cache.transient_backoff(Backoff::none()));
        let mut waiting = [pin!(fixture.tokens.get()), pin!(fixture.tokens.get())];
        let mut poll = |index: usize| fixture.poll_once(waiting[index].as_mut());
        assert!(poll(0).is_pending());
        fixture.settle();
        // The first waiter has lost its fetch, and joins the one of the second waiter.
        assert!(poll(1).is_pending());
        assert!(poll(0).is_pending());
        fixture.settle();
        for index in [0, 1] {
            let Poll::Ready(result) = poll(index) else { panic!("a waiter starts a third fetch") };
            assert_eq!(result.unwrap_err().kind(), TokenErrorKind::Interrupted);
        }
        assert_eq!(fixture.journal.count(), 2);
    });
}

// C3
#[test]
fn a_caller_starts_at_most_two_fetches_that_panic() {
    explore(|| {
        // Without back-off, no remembered failure stops the callers.
        let (fixture, _runtime) =
            CacheFixture::with(|_| Answer::Panic, |cache| cache.transient_backoff(Backoff::none()));
        for got in join(fixture.callers(3)) {
            assert_eq!(got.unwrap_err().kind(), TokenErrorKind::Interrupted);
        }
        assert_at_most_two_each(&fixture);
        assert_no_timer_was_needed();
    });
}

// C3
#[test]
fn waiters_elsewhere_replace_the_fetch_of_a_runtime_that_ends() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let ending = Runtime::new();
        let dropped = fixture.on(&ending).spawn(|fixture| fixture.give_up(1));
        let callers = fixture.callers(2);
        let end = fixture.spawn(|_| drop(ending));
        dropped.join().unwrap();
        end.join().unwrap();
        for got in join(callers) {
            got.unwrap();
        }
        assert!(fixture.journal.count() <= 2);
        assert_no_timer_was_needed();
    });
}

// C3
#[test]
fn a_caller_replaces_lost_fetches_of_others_without_limit() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let ended: Vec<CacheFixture> = (0..3)
            .map(|_| {
                let runtime = Runtime::new();
                fixture.on(&runtime)
            })
            .collect();
        let doomed: Vec<_> = ended.iter().map(|fixture| fixture.spawn(CacheFixture::get)).collect();
        let healthy = fixture.callers(1);
        for got in join(doomed) {
            if let Err(error) = got {
                assert_eq!(error.kind(), TokenErrorKind::Interrupted);
            }
        }
        for got in join(healthy) {
            assert_eq!(call_of(&got.unwrap()), 1);
        }
        ended.iter().for_each(assert_at_most_two_each);
        assert_eq!(gauge(FAILING_CREDENTIALS), 0.0, "a lost fetch is not a failure");
        assert_no_timer_was_needed();
    });
}

/// Asserts that no caller has started more than two fetches.
fn assert_at_most_two_each(fixture: &CacheFixture) {
    let spawners = fixture.handle.spawners();
    for spawner in &spawners {
        let fetches = spawners.iter().filter(|other| *other == spawner).count();
        assert!(fetches <= 2, "one caller has started {fetches} fetches");
    }
}
