//! Removal, and more credentials than the capacity (C10).
//!
//! The slot of the fixture's own credentials is always held, so it takes one place of the capacity.

use std::future::Future;
use std::task::{Context, Waker};
use std::time::Duration;

use http::StatusCode;
use shuttle::rand::{Rng, thread_rng};
use tower_oauth2_races::Tokens;

use crate::support::*;

#[test]
fn a_cleared_slot_serves_its_waiters_with_a_new_token() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let callers = fixture.callers(2);
        let clearing = fixture.spawn(|fixture| {
            let cleared = fixture.journal.moment();
            fixture.clear();
            let call = call_of(&fixture.get().unwrap());
            assert!(
                fixture.journal.calls()[call - 1].began > cleared,
                "a token from before the removal is handed out after it"
            );
        });
        for got in join(callers) {
            got.unwrap();
        }
        clearing.join().unwrap();
        assert_no_timer_was_needed();
    });
}

#[test]
fn a_removed_slot_is_replaced_by_another_one() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let callers = [(); 2].map(|()| fixture.spawn(|fixture| fixture.get_for("a").unwrap()));
        let removing = fixture.spawn(|fixture| fixture.remove("a"));
        join(callers);
        removing.join().unwrap();
        assert!(fixture.other_slots() <= 1);
        // A fetch that is still running holds the slot.
        fixture.settle();
        fixture.remove("a");
        assert_eq!(fixture.other_slots(), 0);
        assert_no_timer_was_needed();
    });
}

#[test]
fn the_number_of_slots_is_bounded_and_counted_right() {
    explore(|| {
        let (fixture, _runtime) =
            CacheFixture::with(|n| Answer::Token(token(n)), |cache| cache.capacity(2));
        let caller = |ids: [&'static str; 2]| {
            fixture.spawn(move |fixture| {
                for id in ids {
                    fixture.get_for(id).unwrap();
                    // Each caller holds one slot at most, and so does each fetch.
                    assert!(fixture.other_slots() <= 1 + 3, "{} slots", fixture.other_slots());
                }
            })
        };
        join([["a", "b"], ["b", "c"], ["a", "c"]].map(caller));
        fixture.settle();
        assert!(fixture.other_slots() <= 1, "{} slots are left", fixture.other_slots());
        for id in ["a", "b", "c"] {
            fixture.remove(id);
        }
        assert_eq!(fixture.other_slots(), 0, "the slots were counted wrong");
        assert_no_timer_was_needed();
    });
}

#[test]
fn a_slot_that_is_taken_during_an_eviction_stays() {
    explore(|| {
        let (fixture, _runtime) =
            CacheFixture::with(|n| Answer::Token(token(n)), |cache| cache.capacity(2));
        let kept = ["a", "c", "d", "e", "f", "g"][thread_rng().gen_range(0..6)];
        // The slot is idle, and its next caller has to wait for a token.
        let got = fixture.get_for(kept).unwrap();
        fixture.reject(&got);
        fixture.settle();
        fixture.handle.stall();
        let waiting = [kept, "b"].map(|id| {
            fixture.spawn(move |fixture| {
                let cache = fixture.cache.clone();
                let mut get = Box::pin(async move { cache.tokens(&credentials(id)).get().await });
                let mut cx = Context::from_waker(Waker::noop());
                assert!(get.as_mut().poll(&mut cx).is_pending());
                get
            })
        });
        let waiting = join(waiting);
        assert_eq!(fixture.other_slots(), 2, "a slot is evicted while a caller holds it");
        fixture.handle.resume();
        drop(waiting);
        fixture.settle();
        assert_eq!(fixture.other_slots(), 1);
    });
}

/// Callers and fetches release several slots at the same time, and end in any way.
#[test]
fn slots_that_are_released_together_are_evicted() {
    explore(|| {
        let script = |n| match n {
            1 => Answer::Panic,
            2 => Answer::Fail,
            _ => Answer::Token(token(n)),
        };
        let (fixture, _runtime) = CacheFixture::with(script, |cache| cache.capacity(1));
        let callers =
            ["a", "b", "c", "d"].map(|id| fixture.spawn(move |fixture| drop(fixture.get_for(id))));
        join(callers);
        assert_no_timer_was_needed();
        fixture.settle();
        assert_eq!(fixture.other_slots(), 0);
    });
}

// C10, R8
#[test]
fn a_slot_that_is_released_during_a_sweep_is_evicted() {
    explore(|| {
        let (fixture, _runtime) =
            CacheFixture::with(|n| Answer::Token(token(n)), |cache| cache.capacity(1));
        let tokens = fixture.cache.tokens(&credentials("a"));
        fixture.get_with(&tokens).unwrap();
        fixture.settle();
        let api = Api::new(&fixture);
        api.rules().accepts_none = true;
        assert_eq!(send_with(&api.service(&fixture), &tokens).status(), StatusCode::UNAUTHORIZED);
        // The breaker resets when the handle is dropped.
        sleep(Duration::from_secs(30));
        drop(tokens);
        fixture.settle();
        assert_eq!(fixture.other_slots(), 0);
    });
}

// C8, C10
#[test]
fn a_rejection_reaches_the_slot_of_its_token() {
    explore(|| {
        let (fixture, _runtime) =
            CacheFixture::with(|n| Answer::Token(token(n)), |cache| cache.capacity(3));
        let caller = |id: &'static str| {
            fixture.spawn(move |fixture| {
                let got = fixture.get_for(id).unwrap();
                fixture.reject(&got);
                let other = fixture.get_for(id).unwrap();
                assert_ne!(other.secret(), got.secret());
            })
        };
        join(["a", "a", "b"].map(caller));
        assert_no_timer_was_needed();
    });
}

// C11
#[test]
fn a_keep_warm_task_ends_although_its_slot_is_removed() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let keep_warm =
            fixture.spawn(|fixture| fixture.cache.tokens(&credentials("a")).keep_warm().unwrap());
        let removing = fixture.spawn(|fixture| fixture.remove("a"));
        keep_warm.join().unwrap();
        removing.join().unwrap();
        fixture.settle();
        assert_no_timer_was_needed();
    });
}

// C10
#[test]
fn handles_that_are_dropped_together_evict_their_slot_once() {
    explore(|| {
        let (fixture, _runtime) =
            CacheFixture::with(|n| Answer::Token(token(n)), |cache| cache.capacity(1));
        let handles = ["a", "b"].map(|id| fixture.cache.tokens(&credentials(id)));
        for tokens in &handles {
            fixture.get_with(tokens).unwrap();
        }
        fixture.settle();
        let clones = handles.iter().flat_map(|tokens| [tokens.clone(), tokens.clone()]);
        let dropping: Vec<_> = clones.map(|tokens| fixture.spawn(move |_| drop(tokens))).collect();
        drop(handles);
        join(dropping);
        assert_eq!(fixture.other_slots(), 0, "a slot is counted wrong");
        assert_eq!(fixture.cache.all().len(), 1, "a slot is left");
    });
}

/// Asserts that a handle has the slot that the cache has for its credentials.
fn assert_is_in_cache(fixture: &CacheFixture, tokens: &Tokens) {
    assert_eq!(fixture.other_slots(), 1);
    let got = call_of(&fixture.get_with(tokens).unwrap());
    let other = fixture.cache.tokens(tokens.credentials());
    assert_eq!(call_of(&fixture.get_with(&other).unwrap()), got, "there are two slots");
    assert_eq!(fixture.other_slots(), 1);
}

// C10
#[test]
fn a_handle_taken_while_the_last_one_is_dropped_is_in_the_cache() {
    explore(|| {
        let (fixture, _runtime) =
            CacheFixture::with(|n| Answer::Token(token(n)), |cache| cache.capacity(1));
        let first = fixture.cache.tokens(&credentials("a"));
        let dropping = fixture.spawn(move |_| drop(first));
        let taking = fixture.spawn(|fixture| fixture.cache.tokens(&credentials("a")));
        dropping.join().unwrap();
        assert_is_in_cache(&fixture, &taking.join().unwrap());
        fixture.settle();
        assert_eq!(fixture.other_slots(), 0);
    });
}

// C10
#[test]
fn a_handle_taken_during_a_removal_is_in_the_cache() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        fixture.get_for("a").unwrap();
        fixture.settle();
        let removing = fixture.spawn(|fixture| fixture.remove("a"));
        let taking = fixture.spawn(|fixture| fixture.cache.tokens(&credentials("a")));
        removing.join().unwrap();
        let tokens = taking.join().unwrap();
        assert_is_in_cache(&fixture, &tokens);
        assert_eq!(call_of(&fixture.get_with(&tokens).unwrap()), 2, "the first token is forgotten");
    });
}

// C10
#[test]
fn all_holds_the_slots_that_it_returns() {
    explore(|| {
        let (fixture, _runtime) =
            CacheFixture::with(|n| Answer::Token(token(n)), |cache| cache.capacity(1));
        let first = fixture.cache.tokens(&credentials("a"));
        let dropping = fixture.spawn(move |_| drop(first));
        let all = fixture.cache.all();
        dropping.join().unwrap();
        assert_eq!(fixture.cache.len(), all.len());
        drop(all);
        assert_eq!(fixture.other_slots(), 0);
    });
}
