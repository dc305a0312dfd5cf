//! Tokens end by the clock that reaches their end first.

use std::time::Duration;

use tokio::time::advance;

use crate::support::*;

/// Tokens end at an age of 90 s.
const END: Duration = Duration::from_secs(90);

/// The longest time for which hits do not read the wall clock.
const WALL_CLOCK_INTERVAL: Duration = Duration::from_millis(250);

// C2, C5
#[test]
fn no_caller_gets_a_token_that_ended_during_a_suspend() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        world.get().unwrap();
        // From this hit on, hits do not read the wall clock for a while.
        world.get_at_once();
        manual_wall_clock::advance(END);
        advance(WALL_CLOCK_INTERVAL);
        for got in join(world.callers(3)) {
            assert_eq!(issue(&got.unwrap()), 2);
        }
        assert_eq!(world.journal.count(), 2);
    });
}

// C5
#[test]
fn a_suspend_at_any_moment_costs_one_token_request() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        world.get().unwrap();
        let suspend = world.spawn(|_| manual_wall_clock::advance(END));
        let callers = world.callers(2);
        suspend.join().unwrap();
        join(callers).into_iter().for_each(|got| drop(got.unwrap()));
        advance(WALL_CLOCK_INTERVAL);
        assert_eq!(issue(&world.get().unwrap()), 2);
        assert_eq!(world.journal.count(), 2);
    });
}

// C2, C5
#[test]
fn tokens_end_by_the_monotonic_clock_if_the_other_is_set_back() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        world.get().unwrap();
        let set_back = world.spawn(|_| manual_wall_clock::set_back(10 * END));
        join(world.callers(2)).into_iter().for_each(|got| drop(got.unwrap()));
        set_back.join().unwrap();
        assert_eq!(world.journal.count(), 1);
        advance(END);
        for got in join(world.callers(3)) {
            assert_eq!(issue(&got.unwrap()), 2);
        }
        assert_eq!(world.journal.count(), 2);
    });
}
