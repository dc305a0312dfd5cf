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
        let (world, _runtime) = World::simple();
        let first = world.get().unwrap();
        let rejecting = |_| {
            let first = first.clone();
            world.spawn(move |world| {
                world.reject(&first);
                assert_eq!(call_of(&world.get().unwrap()), 2);
            })
        };
        let rejecting: Vec<_> = (0..2).map(rejecting).collect();
        join(world.callers(1)).pop().unwrap().unwrap();
        join(rejecting);
        assert_eq!(call_of(&world.get_at_once()), 2);
        assert_eq!(world.journal.causes(), [Cause::Cold, Cause::Rejected]);
        assert_no_timer_was_needed();
    });
}

#[test]
fn waiters_do_not_get_a_token_that_was_rejected_before_they_ran() {
    explore(|| {
        let (world, _runtime) = World::simple();
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
        assert_no_timer_was_needed();
    });
}

#[test]
fn waiters_do_not_get_a_rejected_token_after_its_end() {
    explore(|| {
        let (world, _runtime) = World::simple();
        let callers = world.callers(2);
        let rejecting = world.spawn(|world| {
            let got = world.get().unwrap();
            world.reject(&got);
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
        let (world, _runtime) = World::simple();
        let mut waiting = pin!(world.tokens.get());
        assert!(world.poll_once(waiting.as_mut()).is_pending());
        for n in 1..=MAX_REJECTED_TOKENS {
            let got = world.get().unwrap();
            world.reject(&got);
            world.settle();
            match world.poll_once(waiting.as_mut()) {
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
        let (world, _runtime) =
            World::with(script, |cache| cache.transient_backoff(Backoff::none()));
        let first = world.get().unwrap();
        let rejecting = world.spawn(move |world| world.reject(&first));
        let _ = join(world.callers(3));
        rejecting.join().unwrap();
        while world.get().is_err() {}
        for call in &world.journal.calls()[1..] {
            assert_eq!(call.cause, Cause::Rejected);
            assert_eq!(call.previous.as_deref(), Some("token-1"));
        }
        assert_eq!(call_of(&world.get_at_once()), 4);
        assert_no_timer_was_needed();
    });
}

#[test]
fn a_renewal_that_brings_the_rejected_token_again_is_repeated() {
    explore(|| {
        // The server returns a cached token, unless a request says that it was rejected.
        let script = |n| Answer::Token(if n == 2 { reissued(1, n) } else { token(n) });
        let (world, _runtime) = World::new(script);
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
        assert!(world.journal.count() <= 3, "{:?}", world.journal.causes());
        world.get_at_once();
    });
}

// C8, C9
#[test]
fn a_renewal_that_fails_after_a_rejection_fails_no_caller() {
    explore(|| {
        let script = |n| if n == 2 { Answer::Fail } else { Answer::Token(token(n)) };
        let (world, _runtime) = World::new(script);
        let first = world.get().unwrap();
        advance(DUE);
        // The renewal has not begun, is in progress or has failed at the rejection.
        world.spawn(World::get_at_once).join().unwrap();
        let rejecting = world.spawn(move |world| {
            world.reject(&first);
            world.get().unwrap()
        });
        assert_eq!(call_of(&rejecting.join().unwrap()), 3);
        assert_eq!(world.journal.causes(), [Cause::Cold, Cause::Renewal, Cause::Rejected]);
        let previous = &world.journal.calls()[2].previous;
        assert_eq!(previous.as_deref(), Some("token-1"));
    });
}

#[test]
fn a_late_rejection_costs_no_token_request() {
    explore(|| {
        let (world, _runtime) = World::simple();
        let first = world.get().unwrap();
        world.reject(&first);
        let late = world.spawn(move |world| {
            world.reject(&first);
            world.reject(&first);
        });
        for got in join(world.callers(2)) {
            assert_eq!(call_of(&got.unwrap()), 2);
        }
        late.join().unwrap();
        assert_eq!(call_of(&world.get_at_once()), 2);
        assert_eq!(world.journal.count(), 2);
    });
}

/// The token arrives, is rejected and cleared in any order.
#[test]
fn a_rejection_that_meets_the_arrival_of_the_next_token() {
    explore(|| {
        let (world, _runtime) = World::simple();
        let first = world.get().unwrap();
        advance(DUE);
        world.get_at_once();
        let rejecting = [(); 2].map(|()| {
            let first = first.clone();
            world.spawn(move |world| {
                (0..thread_rng().gen_range(0..20)).for_each(|_| shuttle::thread::yield_now());
                world.reject(&first);
                world.get().unwrap()
            })
        });
        for got in join(rejecting) {
            assert_eq!(call_of(&got), 2);
        }
        world.settle();
        assert_eq!(call_of(&world.get_at_once()), 2);
        assert_eq!(world.journal.count(), 2);
    });
}
