//! Removal, and more credentials than there is room for.

use shuttle::rand::{Rng, thread_rng};

use crate::support::*;

// C10
#[test]
fn those_who_wait_are_served_and_what_was_on_its_way_is_not_kept() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        let callers = world.callers(2);
        let removing = world.spawn(|world| {
            let begun = world.journal.moment();
            world.remove("own");
            let issue = issue(&world.get().unwrap());
            assert!(
                world.journal.calls()[issue - 1].begun > begun,
                "a token from before the removal is handed out after it"
            );
        });
        for got in join(callers) {
            got.unwrap();
        }
        removing.join().unwrap();
        assert_nobody_slept();
    });
}

// C10
#[test]
fn a_slot_that_was_removed_is_another_one() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        let callers = (0..2).map(|_| world.spawn(|world| world.get_for("a").unwrap()));
        let callers: Vec<_> = callers.collect();
        let removing = world.spawn(|world| world.remove("a"));
        join(callers);
        removing.join().unwrap();
        assert!(world.cache.others() <= 1);
        world.remove("a");
        assert_eq!(world.cache.others(), 0);
        assert_nobody_slept();
    });
}

// C10
#[test]
fn slots_are_bounded_and_none_that_somebody_holds_is_let_go_of() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache.capacity(1));
        let caller = |ids: [&'static str; 2]| {
            world.spawn(move |world| {
                for id in ids {
                    world.get_for(id).unwrap();
                }
            })
        };
        join([["a", "b"], ["b", "c"], ["a", "c"]].map(caller));
        world.settle();
        assert!(world.cache.others() <= 1, "{} are kept", world.cache.others());
        for id in ["a", "b", "c"] {
            world.remove(id);
        }
        assert_eq!(world.cache.others(), 0, "they were miscounted");
        assert_nobody_slept();
    });
}

// C2, C10
#[test]
fn a_slot_that_comes_to_be_held_while_others_are_let_go_of_stays() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache.capacity(1));
        let drawn = |from: usize, to| thread_rng().gen_range(from..to);
        let kept = ["a", "c", "d", "e", "f", "g"][drawn(0, 6)];
        // Kept and idle, and whoever asks has to wait.
        let got = world.get_for(kept).unwrap();
        world.reject(&got);
        world.settle();
        let crowd = world.spawn(|world| world.get_for("b"));
        let callers = [0, 1, 2, 3].map(|_| {
            let pauses = drawn(0, 40);
            world.spawn(move |world| {
                for _ in 0..pauses {
                    shuttle::future::block_on(pause());
                }
                world.get_for(kept)
            })
        });
        for got in join(callers.into_iter().chain([crowd])) {
            got.unwrap();
        }
        assert_nobody_slept();
    });
}

// C8, C10
#[test]
fn a_rejection_reaches_the_slot_that_the_token_is_of() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache.capacity(2));
        let caller = |id: &'static str| {
            world.spawn(move |world| {
                let got = world.get_for(id).unwrap();
                world.reject(&got);
                let other = world.get_for(id).unwrap();
                assert_ne!(other.secret(), got.secret());
            })
        };
        join(["a", "a", "b"].map(caller));
        assert_nobody_slept();
    });
}

// C11
#[test]
fn what_keeps_a_removed_slot_warm_ends() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        let keeping = world.spawn(|world| world.cache.keep_warm_for(&credentials("a")).unwrap());
        let removing = world.spawn(|world| world.remove("a"));
        keeping.join().unwrap();
        removing.join().unwrap();
        world.remove("a");
        world.settle();
        assert_nobody_slept();
    });
}
