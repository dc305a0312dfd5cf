//! Calls of `reject`: each one takes effect, and none counts twice (C8).

use std::pin::pin;
use std::task::Poll;

use shuttle::rand::{Rng, thread_rng};
use tokio::time::advance;
use tower_oauth2_races::TokenErrorKind;
use tower_oauth2_races::source::{Backoff, Cause};

use crate::support::*;

/// The number of rejected tokens in a row after which a waiter gives up.
const MAX_REJECTED_TOKENS: usize = 8;

#[test]
fn a_token_that_several_callers_reject_is_replaced_once() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let first = fixture.get().unwrap();
        let rejecting = |_| {
            let first = first.clone();
            fixture.spawn(move |fixture| {
                fixture.reject(&first);
                assert_eq!(call_of(&fixture.get().unwrap()), 2);
            })
        };
        let rejecting: Vec<_> = (0..2).map(rejecting).collect();
        join(fixture.callers(1)).pop().unwrap().unwrap();
        join(rejecting);
        assert_eq!(call_of(&fixture.get_at_once()), 2);
        assert_eq!(fixture.journal.causes(), [Cause::Cold, Cause::Rejected]);
        assert_no_timer_was_needed();
    });
}

#[test]
fn waiters_do_not_get_a_token_that_was_rejected_before_they_ran() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let callers = fixture.callers(2);
        let rejecting = fixture.spawn(|fixture| {
            for _ in 0..2 {
                let got = fixture.get().unwrap();
                fixture.reject(&got);
            }
        });
        rejecting.join().unwrap();
        for got in join(callers) {
            got.unwrap();
        }
        assert!(fixture.journal.count() <= 3);
        assert_no_timer_was_needed();
    });
}

#[test]
fn waiters_do_not_get_a_rejected_token_after_its_end() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let callers = fixture.callers(2);
        let rejecting = fixture.spawn(|fixture| {
            let got = fixture.get().unwrap();
            fixture.reject(&got);
            advance(LIFETIME);
        });
        rejecting.join().unwrap();
        for got in join(callers) {
            got.unwrap();
        }
    });
}

#[test]
fn a_waiter_gives_up_after_eight_rejected_tokens() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let mut waiting = pin!(fixture.tokens.get());
        assert!(fixture.poll_once(waiting.as_mut()).is_pending());
        for n in 1..=MAX_REJECTED_TOKENS {
            let got = fixture.get().unwrap();
            fixture.reject(&got);
            fixture.settle();
            match fixture.poll_once(waiting.as_mut()) {
                Poll::Pending => assert!(
                    n < MAX_REJECTED_TOKENS,
                    "the caller still waits after {n} rejected tokens"
                ),
                Poll::Ready(result) => {
                    assert_eq!(result.unwrap_err().kind(), TokenErrorKind::Rejected);
                    assert_eq!(
                        n, MAX_REJECTED_TOKENS,
                        "the caller has given up after {n} rejected tokens"
                    );
                }
            }
        }
        assert_no_timer_was_needed();
    });
}

#[test]
fn a_rejected_token_stays_known_across_failed_fetches() {
    explore(|| {
        let script = |n| match n {
            2 | 3 => Answer::Fail,
            _ => Answer::Token(token(n)),
        };
        let (fixture, _runtime) =
            CacheFixture::with(script, |cache| cache.transient_backoff(Backoff::none()));
        let first = fixture.get().unwrap();
        let rejecting = fixture.spawn(move |fixture| fixture.reject(&first));
        let _ = join(fixture.callers(3));
        rejecting.join().unwrap();
        while fixture.get().is_err() {}
        for call in &fixture.journal.calls()[1..] {
            assert_eq!(call.cause, Cause::Rejected);
            assert_eq!(call.previous.as_deref(), Some("token-1"));
        }
        assert_eq!(call_of(&fixture.get_at_once()), 4);
        assert_no_timer_was_needed();
    });
}

#[test]
fn a_renewal_that_brings_the_rejected_token_again_is_repeated() {
    explore(|| {
        // The server returns a cached token, unless a request says that it was rejected.
        let script = |n| Answer::Token(if n == 2 { reissued(1, n) } else { token(n) });
        let (fixture, _runtime) = CacheFixture::new(script);
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
        assert!(fixture.journal.count() <= 3, "{:?}", fixture.journal.causes());
        fixture.get_at_once();
    });
}

// C8, C9
#[test]
fn a_renewal_that_fails_after_a_rejection_fails_no_caller() {
    explore(|| {
        let script = |n| if n == 2 { Answer::Fail } else { Answer::Token(token(n)) };
        let (fixture, _runtime) = CacheFixture::new(script);
        let first = fixture.get().unwrap();
        advance(DUE);
        // The renewal has not begun, is in progress or has failed at the rejection.
        fixture.spawn(CacheFixture::get_at_once).join().unwrap();
        let rejecting = fixture.spawn(move |fixture| {
            fixture.reject(&first);
            fixture.get().unwrap()
        });
        assert_eq!(call_of(&rejecting.join().unwrap()), 3);
        assert_eq!(fixture.journal.causes(), [Cause::Cold, Cause::Renewal, Cause::Rejected]);
        let previous = &fixture.journal.calls()[2].previous;
        assert_eq!(previous.as_deref(), Some("token-1"));
    });
}

#[test]
fn a_late_rejection_costs_no_token_request() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let first = fixture.get().unwrap();
        fixture.reject(&first);
        let late = fixture.spawn(move |fixture| {
            fixture.reject(&first);
            fixture.reject(&first);
        });
        for got in join(fixture.callers(2)) {
            assert_eq!(call_of(&got.unwrap()), 2);
        }
        late.join().unwrap();
        assert_eq!(call_of(&fixture.get_at_once()), 2);
        assert_eq!(fixture.journal.count(), 2);
    });
}

/// The token arrives, is rejected and cleared in any order.
#[test]
fn a_rejection_that_meets_the_arrival_of_the_next_token() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let first = fixture.get().unwrap();
        advance(DUE);
        fixture.get_at_once();
        let rejecting = [(); 2].map(|()| {
            let first = first.clone();
            fixture.spawn(move |fixture| {
                (0..thread_rng().gen_range(0..20)).for_each(|_| shuttle::thread::yield_now());
                fixture.reject(&first);
                fixture.get().unwrap()
            })
        });
        for got in join(rejecting) {
            assert_eq!(call_of(&got), 2);
        }
        fixture.settle();
        assert_eq!(call_of(&fixture.get_at_once()), 2);
        assert_eq!(fixture.journal.count(), 2);
    });
}
