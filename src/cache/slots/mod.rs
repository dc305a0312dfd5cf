//! The slots of many credentials, bounded in number.

mod table;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::time::Instant;

use self::table::Table;
use super::slot::Slot;
use crate::credentials::Credentials;
use crate::util::sync::{LockExt, RwLockExt};

const SHARDS: usize = 16;

/// Number of slots that one eviction examines.
const SAMPLE: usize = 16;

/// Largest number of table positions that one eviction visits.
///
/// A table with `n` slots has at most `8 * max(n, 1)` positions, so `SAMPLE` slots are found within
/// this limit even if each shard is as sparse as it can be.
const MAX_VISITS: usize = table::MAX_SPARSENESS * (SHARDS + SAMPLE);

/// Largest number of slots that one insert or one release evicts.
///
/// One is enough to keep the bound. With two, a surplus shrinks while inserts continue.
const MAX_EVICTIONS: usize = 2;

/// Holds at most `capacity` slots, and as many more as are held elsewhere too.
///
/// - A slot is *held* while anyone but this map has an [`Arc`] of it. A held slot is never evicted.
/// - While there are more slots than `capacity`, each insert and each [`release`](Self::release)
///   examines the next [`SAMPLE`] slots from the hand on, and evicts at most [`MAX_EVICTIONS`] of
///   them: the least recently used that are not held. Among up to [`SAMPLE`] slots, this is exact
///   LRU. Among `n` slots, the least recently used one goes within about `n / SAMPLE` evictions.
/// - A release examines the released slot too, so the last release of a slot evicts at least one.
///   Therefore the surplus is never larger than the number of held slots, and the map is back at
///   `capacity` once all are released. This requires that each [`Arc`] that this map hands out is
///   given back with [`release`](Self::release).
pub(super) struct Slots {
    shards: [RwLock<Table>; SHARDS],
    len: AtomicUsize,
    capacity: usize,
    epoch: Instant,
    /// Locked during an eviction. Locks of shards are taken while it is locked, never before.
    hand: Mutex<Hand>,
}

/// Points to the table position that the next eviction visits first.
#[derive(Default)]
struct Hand {
    shard: usize,
    position: usize,
    /// Counts all visited positions, to test that evictions take constant work.
    #[cfg(test)]
    visits: usize,
}

/// Describes a slot that was not held when it was examined. The least recently used one is the
/// smallest.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Candidate {
    last_used: u64,
    fingerprint: u64,
}

impl Slots {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            shards: Default::default(),
            len: AtomicUsize::new(0),
            capacity,
            epoch: Instant::now(),
            hand: Mutex::default(),
        }
    }

    /// Calls `look` with the slot of `credentials` under the read lock of one shard.
    ///
    /// If `look` clones the [`Arc`], the caller must give it back with [`release`](Self::release).
    pub(super) fn with<T>(
        &self,
        credentials: &Credentials,
        now: Instant,
        look: impl FnOnce(&Arc<Slot>) -> T,
    ) -> Option<T> {
        let table = self.read(credentials.fingerprint());
        let slot =
            table.find(credentials.fingerprint(), |slot| slot.credentials() == credentials)?;
        self.touch(slot, now);
        Some(look(slot))
    }

    /// Returns the slot of `credentials`, which the caller must give back with
    /// [`release`](Self::release).
    pub(super) fn get_or_insert(&self, credentials: &Credentials) -> Arc<Slot> {
        let now = Instant::now();
        if let Some(slot) = self.with(credentials, now, Arc::clone) {
            return slot;
        }
        let slot = self.insert(credentials, now);
        self.trim(None);
        slot
    }

    /// Removes and returns the slot of `credentials`, whether it is held or not.
    pub(super) fn remove(&self, credentials: &Credentials) -> Option<Arc<Slot>> {
        self.take(credentials.fingerprint(), |slot| slot.credentials() == credentials)
    }

    /// Gives back a slot, and evicts slots if there are too many.
    pub(super) fn release(&self, slot: Arc<Slot>) {
        let fingerprint = slot.credentials().fingerprint();
        // Dropped first, because a slot that is still held here would not be evicted.
        drop(slot);
        self.trim(Some(fingerprint));
    }

    /// Returns the number of slots.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Retires all slots.
    pub(super) fn retire(&self) {
        for shard in &self.shards {
            // Retired after unlocking, because that wakes tasks.
            let slots: Vec<_> = read(shard).iter().cloned().collect();
            slots.iter().for_each(|slot| slot.retire());
        }
    }

    /// Inserts a new slot, unless another caller has inserted one since the lookup.
    fn insert(&self, credentials: &Credentials, now: Instant) -> Arc<Slot> {
        let fingerprint = credentials.fingerprint();
        let mut table = self.write(fingerprint);
        let slot = match table.find(fingerprint, |slot| slot.credentials() == credentials) {
            Some(slot) => slot.clone(),
            None => {
                let slot = Arc::new(Slot::new(credentials.clone()));
                table.insert(fingerprint, slot.clone());
                self.len.fetch_add(1, Ordering::Relaxed);
                slot
            }
        };
        self.touch(&slot, now);
        slot
    }

    /// Evicts at most [`MAX_EVICTIONS`] slots while there are more than `capacity`.
    fn trim(&self, released: Option<u64>) {
        if self.len() <= self.capacity {
            return;
        }
        // Declared before the guard, so that slots are dropped after unlocking: dropping a slot
        // runs code of callers.
        let mut evicted = Vec::with_capacity(MAX_EVICTIONS);
        // One eviction at a time, because two at once could choose the same slots, or evict more than
        // the surplus.
        let mut hand = self.hand.lock_unpoisoned();
        let surplus = self.len().saturating_sub(self.capacity).min(MAX_EVICTIONS);
        if surplus == 0 {
            return;
        }
        for candidate in self.sample(&mut hand, released) {
            // A candidate that is held by now is left to the release that will follow.
            evicted.extend(self.take(candidate.fingerprint, is_idle));
            if evicted.len() == surplus {
                break;
            }
        }
    }

    /// Returns the idle ones of the next [`SAMPLE`] slots and the released one, the least recently
    /// used first.
    fn sample(&self, hand: &mut Hand, released: Option<u64>) -> Vec<Candidate> {
        let mut sample = Vec::with_capacity(SAMPLE + 1);
        if let Some(fingerprint) = released {
            sample.extend(self.read(fingerprint).find(fingerprint, is_idle).map(candidate));
        }
        let (mut visits, mut examined) = (0, 0);
        // One round, which ends in the first part of the table that it begins in.
        'round: for _ in 0..=SHARDS {
            let table = read(&self.shards[hand.shard]);
            for slot in table.positions_from(hand.position) {
                if visits == MAX_VISITS || examined == SAMPLE {
                    break 'round;
                }
                visits += 1;
                hand.position += 1;
                if let Some(slot) = slot {
                    examined += 1;
                    sample.extend(is_idle(slot).then(|| candidate(slot)));
                }
            }
            hand.shard = (hand.shard + 1) % SHARDS;
            hand.position = 0;
        }
        #[cfg(test)]
        {
            hand.visits += visits;
        }
        sample.sort_unstable();
        sample
    }

    /// Takes the slot with this fingerprint that `is_it` accepts out of its table.
    fn take(&self, fingerprint: u64, is_it: impl Fn(&Arc<Slot>) -> bool) -> Option<Arc<Slot>> {
        let slot = self.write(fingerprint).take(fingerprint, is_it)?;
        self.len.fetch_sub(1, Ordering::Relaxed);
        Some(slot)
    }

    fn read(&self, fingerprint: u64) -> RwLockReadGuard<'_, Table> {
        read(&self.shards[shard(fingerprint)])
    }

    fn write(&self, fingerprint: u64) -> RwLockWriteGuard<'_, Table> {
        self.shards[shard(fingerprint)].write_unpoisoned()
    }

    fn touch(&self, slot: &Slot, now: Instant) {
        let now = now.saturating_duration_since(self.epoch).as_millis() as u64;
        // Written only if it changes, so that a cache line that many cores read stays shared.
        if slot.last_used.load(Ordering::Relaxed) != now {
            slot.last_used.store(now, Ordering::Relaxed);
        }
    }
}

/// Returns the index of the shard, by bits of the fingerprint that the table does not use.
fn shard(fingerprint: u64) -> usize {
    (fingerprint >> 48) as usize % SHARDS
}

fn read(shard: &RwLock<Table>) -> RwLockReadGuard<'_, Table> {
    shard.read_unpoisoned()
}

/// Returns whether only the map holds the slot.
///
/// Under the shard's write lock this stays true, because an `Arc` is cloned under its read lock or
/// by one who holds another.
fn is_idle(slot: &Arc<Slot>) -> bool {
    Arc::strong_count(slot) == 1
}

fn candidate(slot: &Arc<Slot>) -> Candidate {
    Candidate {
        last_used: slot.last_used.load(Ordering::Relaxed),
        fingerprint: slot.credentials().fingerprint(),
    }
}
