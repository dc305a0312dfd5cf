//! Holds the slots of many credentials, bounded in number.

mod table;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::time::Instant;

use self::table::Table;
use super::fetcher::Fetcher;
use super::slot::Slot;
use super::slot_handle::SlotHandle;
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

/// Holds at most `capacity` slots, and as many more as are held.
///
/// - A slot is *held* while a [`SlotHandle`] to it exists. A held slot is never evicted.
/// - While there are more slots than `capacity`, each insert and each [`released`](Self::released)
///   examines the next [`SAMPLE`] slots from the hand on, and evicts at most [`MAX_EVICTIONS`] of
///   them: the least recently used that are not held. Among up to [`SAMPLE`] slots, this is exact
///   LRU. Among `n` slots, the least recently used one goes within about `n / SAMPLE` evictions.
/// - A release examines the released slot too, so the last release of a slot evicts at least one.
///   Therefore the surplus is never larger than the number of held slots, and the map is back at
///   `capacity` once all are released.
pub(super) struct Slots {
    fetcher: Arc<Fetcher>,
    /// In a box, because handles that outlive the cache keep the memory of this struct.
    shards: Box<[RwLock<Table>; SHARDS]>,
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

/// Describes a slot that was not held when it was examined.
///
/// The least recently used slot is the smallest one in the order.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Candidate {
    last_used: u64,
    fingerprint: u64,
}

impl Slots {
    pub(super) fn new(capacity: usize, fetcher: Arc<Fetcher>) -> Self {
        Self {
            fetcher,
            shards: Default::default(),
            len: AtomicUsize::new(0),
            capacity,
            epoch: Instant::now(),
            hand: Mutex::default(),
        }
    }

    /// Returns a handle to the slot of `credentials`, and creates a missing slot.
    pub(super) fn get_or_insert(&self, credentials: &Credentials) -> SlotHandle {
        let now = self.now();
        if let Some(slot) = self.find(credentials) {
            slot.last_used.store(now, Ordering::Relaxed);
            return slot;
        }
        let slot = self.insert(credentials);
        slot.last_used.store(now, Ordering::Relaxed);
        self.trim(None);
        slot
    }

    /// Returns a handle to the slot of `credentials` if there is one.
    pub(super) fn find(&self, credentials: &Credentials) -> Option<SlotHandle> {
        let fingerprint = credentials.fingerprint();
        let table = self.read(fingerprint);
        table.find(fingerprint, |slot| slot.credentials() == credentials).map(SlotHandle::new)
    }

    /// Removes and returns the slot of `credentials`, unless it is held.
    pub(super) fn remove(&self, credentials: &Credentials) -> Option<Arc<Slot>> {
        let matches = |slot: &Arc<Slot>| slot.credentials() == credentials && is_idle(slot);
        self.take(credentials.fingerprint(), matches)
    }

    /// Returns handles to all slots.
    pub(super) fn all(&self) -> Vec<SlotHandle> {
        let mut all = Vec::with_capacity(self.len());
        for shard in &*self.shards {
            all.extend(read(shard).iter().map(SlotHandle::new));
        }
        all
    }

    /// Evicts slots if there are too many, because the last handle to `slot` was dropped.
    pub(super) fn released(&self, slot: &Slot) {
        self.trim(Some(slot.credentials().fingerprint()));
    }

    /// Returns the number of slots.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Inserts a new slot, unless another caller has inserted one since the lookup.
    fn insert(&self, credentials: &Credentials) -> SlotHandle {
        let fingerprint = credentials.fingerprint();
        let mut table = self.write(fingerprint);
        if let Some(slot) = table.find(fingerprint, |slot| slot.credentials() == credentials) {
            return SlotHandle::new(slot);
        }
        let slot = Arc::new(Slot::new(credentials.clone(), self.fetcher.clone()));
        let handle = SlotHandle::new(&slot);
        table.insert(fingerprint, slot);
        self.len.fetch_add(1, Ordering::Relaxed);
        handle
    }

    /// Evicts at most [`MAX_EVICTIONS`] slots while there are more than `capacity`.
    fn trim(&self, released: Option<u64>) {
        if self.len() <= self.capacity {
            return;
        }
        // Declared before the guard, so that slots are dropped after unlocking: dropping a slot
        // runs code of callers.
        let mut evicted = Vec::with_capacity(MAX_EVICTIONS);
        // One eviction at a time, because two at once could choose the same slots, or evict more
        // than the surplus.
        let mut hand = self.hand.lock_unpoisoned();
        let surplus = self.len().saturating_sub(self.capacity).min(MAX_EVICTIONS);
        if surplus == 0 {
            return;
        }
        for candidate in self.sample(&mut hand, released) {
            // A candidate that is held by now is evicted when it is released.
            evicted.extend(self.take(candidate.fingerprint, is_idle));
            if evicted.len() == surplus {
                break;
            }
        }
    }

    /// Returns the idle slots among the next [`SAMPLE`] slots and the released one.
    ///
    /// The least recently used slot comes first.
    fn sample(&self, hand: &mut Hand, released: Option<u64>) -> Vec<Candidate> {
        let mut sample = Vec::with_capacity(SAMPLE + 1);
        if let Some(fingerprint) = released {
            sample.extend(self.read(fingerprint).find(fingerprint, is_idle).map(candidate));
        }
        let (mut visits, mut examined) = (0, 0);
        // The last part is the first one again, because the loop may have begun in the middle of
        // it.
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

    /// Takes the slot with this fingerprint that `matches` accepts out of its table.
    fn take(&self, fingerprint: u64, matches: impl Fn(&Arc<Slot>) -> bool) -> Option<Arc<Slot>> {
        let slot = self.write(fingerprint).take(fingerprint, matches)?;
        self.len.fetch_sub(1, Ordering::Relaxed);
        Some(slot)
    }

    fn read(&self, fingerprint: u64) -> RwLockReadGuard<'_, Table> {
        read(&self.shards[shard(fingerprint)])
    }

    fn write(&self, fingerprint: u64) -> RwLockWriteGuard<'_, Table> {
        self.shards[shard(fingerprint)].write_unpoisoned()
    }

    /// Returns the time in milliseconds since the map was created.
    fn now(&self) -> u64 {
        Instant::now().saturating_duration_since(self.epoch).as_millis() as u64
    }
}

/// Returns the index of the shard.
///
/// It depends on bits of the fingerprint that the table does not use.
fn shard(fingerprint: u64) -> usize {
    (fingerprint >> 48) as usize % SHARDS
}

fn read(shard: &RwLock<Table>) -> RwLockReadGuard<'_, Table> {
    shard.read_unpoisoned()
}

/// Returns whether no handle to the slot exists.
///
/// Under the shard's write lock this stays true, because a first handle is created under its read
/// lock.
fn is_idle(slot: &Arc<Slot>) -> bool {
    !slot.is_held()
}

fn candidate(slot: &Arc<Slot>) -> Candidate {
    Candidate {
        last_used: slot.last_used.load(Ordering::Relaxed),
        fingerprint: slot.credentials().fingerprint(),
    }
}
