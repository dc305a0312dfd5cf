use std::collections::HashMap;
use std::thread;

use tower::service_fn;
use tower::util::BoxCloneService;

use super::*;
use crate::cache::schedule::Schedule;
use crate::client_auth::ClientAuth;
use crate::token::AccessToken;

fn credentials(n: usize) -> Credentials {
    let auth = ClientAuth::none(format!("client-{n}"));
    Credentials::new("https://auth.test/token", auth).unwrap()
}

fn slots(capacity: usize) -> Arc<Slots> {
    Arc::new_cyclic(|slots| {
        let source = BoxCloneService::new(service_fn(|_| async { Ok(AccessToken::new("t")?) }));
        let fetcher = Fetcher::new(source, Schedule::default(), slots.clone());
        Slots::new(capacity, Arc::new(fetcher))
    })
}

impl Slots {
    /// Uses the slots of `range`, each a millisecond later than the one before.
    fn use_in_order(&self, clock: &mut u64, range: impl IntoIterator<Item = usize>) {
        for n in range {
            *clock += 1;
            let slot = self.get_or_insert(&credentials(n));
            let memory = Arc::clone(&slot);
            drop(slot);
            memory.last_used.store(*clock, Ordering::Relaxed);
        }
    }

    fn hold(&self, range: impl IntoIterator<Item = usize>) -> Vec<SlotHandle> {
        range.into_iter().map(|n| self.get_or_insert(&credentials(n))).collect()
    }

    /// Looks without touching.
    fn has(&self, n: usize) -> bool {
        let credentials = credentials(n);
        let table = self.read(credentials.fingerprint());
        table.find(credentials.fingerprint(), |slot| *slot.credentials() == credentials).is_some()
    }

    /// Counts the slots in the tables.
    fn count(&self) -> usize {
        self.shards.iter().map(|shard| read(shard).iter().count()).sum()
    }

    fn visits(&self) -> usize {
        self.hand.lock().unwrap().visits
    }
}

// C10
#[test]
fn up_to_sixteen_slots_are_evicted_in_exact_order() {
    let clock = &mut 0;
    for capacity in 1..SAMPLE {
        let slots = slots(capacity);
        // Leaves tables behind that once were large.
        drop(slots.hold(0..500));
        slots.use_in_order(clock, 0..500);
        assert_eq!(slots.len(), capacity);
        slots.use_in_order(clock, 500..500 + capacity);
        slots.use_in_order(clock, [500]);
        for n in 1..capacity {
            slots.use_in_order(clock, [600 + n]);
            assert!(!slots.has(500 + n), "{n} of {capacity} was the least recently used");
            assert!(slots.has(500), "the most recently used stays, at a capacity of {capacity}");
            assert_eq!(slots.len(), capacity);
            slots.use_in_order(clock, [500]);
        }
    }
}

// C10
#[test]
fn the_least_recently_used_of_many_goes_within_two_rounds() {
    let clock = &mut 0;
    let slots = slots(1000);
    slots.use_in_order(clock, 0..1000);
    slots.use_in_order(clock, (1..1000).chain(1000..1000 + 2 * 1000 / SAMPLE));
    assert!(!slots.has(0));
}

// C10
#[test]
fn recently_used_slots_stay() {
    let clock = &mut 0;
    let slots = slots(1000);
    slots.use_in_order(clock, 0..1000);
    slots.use_in_order(clock, 1000..1100);
    assert_eq!(slots.len(), 1000);
    let survivors = (900..1100).filter(|n| slots.has(*n)).count();
    assert_eq!(survivors, 200, "the most recently used fifth");
}

// C10
#[test]
fn the_capacity_is_filled_before_any_slot_goes() {
    for capacity in [0, 1, 7, 8, 100, 1000] {
        let slots = slots(capacity);
        for n in 0..2 * capacity + 20 {
            drop(slots.get_or_insert(&credentials(n)));
            assert_eq!(slots.len(), capacity.min(n + 1));
            assert!(capacity <= n || slots.has(0));
        }
        assert_eq!(slots.count(), capacity);
    }
}

// C10
#[test]
fn held_slots_stay_and_the_map_comes_back_to_its_capacity() {
    for capacity in [0, 1, 100] {
        let slots = slots(capacity);
        let mut held = slots.hold(0..300);
        assert_eq!(slots.len(), 300);
        fastrand::Rng::with_seed(1).shuffle(&mut held);
        while let Some(slot) = held.pop() {
            let before = slots.len();
            drop(slot);
            assert!(slots.len() <= capacity.max(held.len()));
            assert!(slots.len() + MAX_EVICTIONS >= before, "no burst");
            let is_kept = |slot: &SlotHandle| Arc::strong_count(slot) == 2;
            assert!(held.iter().all(is_kept), "held slots are still in the map");
        }
        assert_eq!((slots.len(), slots.count()), (capacity, capacity));
    }
}

// C10
#[test]
fn a_slot_that_several_hold_stays_until_the_last_release() {
    let slots = slots(0);
    let [first, second] = [0, 0].map(|n| slots.get_or_insert(&credentials(n)));
    drop(first);
    assert!(slots.has(0));
    drop(second);
    assert_eq!((slots.has(0), slots.len()), (false, 0));
}

// C10
#[test]
fn a_slot_is_removed_unless_it_is_held() {
    let slots = slots(1);
    let held = slots.get_or_insert(&credentials(0));
    assert!(slots.remove(&credentials(0)).is_none());
    assert!(Arc::ptr_eq(&held, &slots.get_or_insert(&credentials(0))), "there is one slot only");

    drop(held);
    assert!(slots.remove(&credentials(0)).is_some());
    assert_eq!((slots.len(), slots.count()), (0, 0));
    assert!(slots.remove(&credentials(0)).is_none());
}

// C10
#[test]
fn an_insert_over_capacity_takes_constant_work() {
    let means = [1_000, 10_000, 100_000].map(|size| {
        let slots = slots(size / 10);
        let mut held = Vec::new();
        let mut visits = 0;
        let mut count = |slots: &Slots| {
            let before = std::mem::replace(&mut visits, slots.visits());
            assert!(visits - before <= MAX_VISITS);
        };
        for n in 0..size {
            held.push(slots.get_or_insert(&credentials(n)));
            count(&slots);
        }
        for slot in held {
            drop(slot);
            count(&slots);
        }
        assert_eq!(slots.len(), size / 10);
        // Nine of ten inserts and nine of ten releases exceed the capacity.
        visits as f64 / (1.8 * size as f64)
    });
    // A position is filled in at least an eighth, and in a half on average.
    assert!(means.iter().all(|mean| *mean < 3.0 * SAMPLE as f64), "{means:?} visits on average");
}

/// Holds and releases slots on four threads.
///
/// In `removals` percent of the rounds, the threads remove a slot too.
fn play_on_threads(slots: &Arc<Slots>, removals: u8, lengths: impl Fn(usize) -> bool + Sync) {
    thread::scope(|scope| {
        for seed in 0..4 {
            let lengths = &lengths;
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                for _ in 0..2000 {
                    let held = slots.hold([random.usize(0..60), random.usize(0..60)]);
                    if random.u8(0..100) < removals {
                        slots.remove(&credentials(random.usize(0..60)));
                    }
                    assert!(lengths(slots.len()));
                    drop(held);
                    assert!(lengths(slots.len()));
                }
            });
        }
    });
}

// C10
#[test]
fn concurrent_evictions_evict_the_surplus_and_no_more() {
    let slots = slots(20);
    (0..20).for_each(|n| drop(slots.get_or_insert(&credentials(n))));
    // Each of the threads holds two slots at most.
    play_on_threads(&slots, 0, |len| (20..=20 + 4 * 2).contains(&len));
    assert_eq!((slots.len(), slots.count()), (20, 20));
}

// C10
#[test]
fn the_count_is_right_while_slots_come_and_go_on_threads() {
    let slots = slots(20);
    play_on_threads(&slots, 10, |len| len <= 20 + 4 * 2);
    assert_eq!(slots.len(), slots.count());
    assert!(slots.len() <= 20);
}

// C10
#[test]
fn a_table_finds_what_a_map_finds() {
    let map = slots(1);
    // The home of all, of many, or of few slots is the same position.
    for homes in [1, 8, u64::from(u32::MAX)] {
        let mut random = fastrand::Rng::with_seed(homes);
        let mut table = Table::default();
        let mut model: HashMap<u64, Arc<Slot>> = HashMap::new();
        for step in 0..4000 {
            let home = random.u64(0..200).wrapping_mul(0x9E37_79B9) % homes;
            let fingerprint = (home << 32) / homes + random.u64(0..3);
            let growth = if step % 1000 < 500 { 3 } else { 1 };
            let known = model.get(&fingerprint).cloned();
            let matches = |slot: &Arc<Slot>| known.as_ref().is_some_and(|it| Arc::ptr_eq(it, slot));
            assert_eq!(table.find(fingerprint, matches).is_some(), known.is_some());
            if random.u8(0..4) < growth {
                if known.is_none() {
                    let slot = Arc::new(Slot::new(credentials(0), map.fetcher.clone()));
                    table.insert(fingerprint, slot.clone());
                    model.insert(fingerprint, slot);
                }
            } else {
                let taken = table.take(fingerprint, matches);
                assert_eq!(taken.is_some(), model.remove(&fingerprint).is_some());
            }
            let positions = table.positions_from(0).count();
            assert_eq!(table.iter().count(), model.len());
            assert!(positions <= 8 * model.len().max(1) && positions * 7 >= model.len() * 8);
        }
        for (fingerprint, slot) in &model {
            assert!(table.find(*fingerprint, |found| Arc::ptr_eq(found, slot)).is_some());
        }
    }
}
