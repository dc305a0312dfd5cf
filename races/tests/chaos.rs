//! Threads that do anything at random, in any order.

use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use tokio::runtime::Runtime;
use tokio::time::advance;
use tower_oauth2_races::source::Backoff;
use tower_oauth2_races::{CachedToken, TokenErrorKind};

use crate::support::*;

// C2, C3, C4, C5, C8
#[test]
fn the_invariants_hold_for_random_callers() {
    explore(|| play(Removals::None));
}

// C2, C3, C4, C5, C8, C10
#[test]
fn the_invariants_hold_with_removals() {
    explore(|| play(Removals::Some));
}

#[test]
fn a_schedule_can_be_replayed() {
    explore_twice(|| play(Removals::Some));
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Removals {
    None,
    Some,
}

fn play(removals: Removals) {
    // A slot that is cleared forgets its rejections, so the text of a rejected token could come
    // again.
    let script = move |n| match thread_rng().gen_range(0..9) {
        0 => Answer::Fail,
        1 => Answer::Panic,
        2 if n > 1 && removals == Removals::None => Answer::Token(reissued(n - 1, n)),
        3 => Answer::SlowToken(Duration::from_millis(600), token(n)),
        _ => Answer::Token(token(n)),
    };
    let (fixture, _runtime) =
        CacheFixture::with(script, |cache| cache.transient_backoff(Backoff::none()));
    let ending = Runtime::new();
    let elsewhere = fixture.on(&ending);
    let threads = [&fixture, &fixture, &elsewhere].map(|fixture| {
        fixture.spawn(move |fixture| {
            let mut last = None;
            for _ in 0..4 {
                step(fixture, removals, &mut last);
            }
        })
    });
    let end = fixture.spawn(|_| {
        ending.handle().stall();
        ending.handle().resume();
        drop(ending);
    });
    join(threads);
    end.join().unwrap();
    fixture.settle();
    // The cache still works.
    while fixture.get().is_err() {}
    fixture.settle();
    elsewhere.settle();
    fixture.clear();
    assert_eq!(gauge(FAILING_CREDENTIALS), 0.0);
}

/// Performs a random step. `last` is the last token of this thread.
fn step(fixture: &CacheFixture, removals: Removals, last: &mut Option<CachedToken>) {
    let seconds = |most| Duration::from_secs(thread_rng().gen_range(1..most));
    match (thread_rng().gen_range(0..9), last.as_ref()) {
        (0, _) => fixture.give_up(thread_rng().gen_range(1..4)),
        (1, _) => advance(seconds(40)),
        (2, _) => fixture.suspend(seconds(40)),
        (3, _) => fixture.set_wall_clock_back(seconds(40)),
        (4, Some(token)) => fixture.reject(token),
        (5, _) if removals == Removals::Some => fixture.clear(),
        _ => match fixture.get() {
            Ok(token) => *last = Some(token),
            Err(error) => {
                let kinds = [TokenErrorKind::Source, TokenErrorKind::Interrupted];
                assert!(kinds.contains(&error.kind()), "{error}");
            }
        },
    }
}
