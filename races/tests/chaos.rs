//! Whatever callers may do, in whatever order; and what has to be true all the same.

use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use tokio::runtime::Runtime;
use tokio::time::advance;
use tower_oauth2_races::{Backoff, TokenErrorKind};

use crate::support::*;

// C2, C3, C4, C5, C8
#[test]
fn whatever_callers_do_the_invariants_hold() {
    explore(|| play(false));
}

// C2, C3, C4, C5, C10
#[test]
fn whatever_callers_do_the_invariants_hold_and_removal_is_no_exception() {
    explore(|| play(true));
}

#[test]
fn a_schedule_can_be_played_again() {
    explore_twice(|| play(true));
}

/// With removal, of what is known of rejections too, no text comes twice: it might be handed out again.
fn play(with_removal: bool) {
    let script = move |n| match thread_rng().gen_range(0..8) {
        0 => Answer::Fail,
        1 => Answer::Panic,
        2 if n > 1 && !with_removal => Answer::Token(reissued(n - 1, n)),
        _ => Answer::Token(token(n)),
    };
    let (world, _runtime) = World::new(script, |cache| cache.transient_backoff(Backoff::none()));
    let other = Runtime::new();
    let abroad = World { handle: other.handle().clone(), ..world.clone() };
    let threads = [&world, &world, &abroad].map(|world| {
        world.spawn(move |world| {
            let mut last = None;
            for _ in 0..4 {
                match thread_rng().gen_range(0..7) {
                    0 => world.give_up(thread_rng().gen_range(1..4)),
                    1 => advance(Duration::from_secs(thread_rng().gen_range(1..40))),
                    2 if last.is_some() => world.reject(last.as_ref().unwrap()),
                    3 if with_removal => world.remove("own"),
                    _ => match world.get() {
                        Ok(token) => last = Some(token),
                        Err(error) => assert!(matches!(
                            error.kind(),
                            TokenErrorKind::Source | TokenErrorKind::Interrupted
                        )),
                    },
                }
            }
        })
    });
    let end = world.spawn(|_| drop(other));
    join(threads);
    end.join().unwrap();
    world.settle();
    // It still works.
    while world.get().is_err() {}
}
