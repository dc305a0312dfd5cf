//! Many credentials, each with a slot of its own, bounded in number.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::time::Instant;

use super::slot::Slot;
use crate::credentials::ClientCredentials;

const SHARDS: usize = 16;

/// Slots by credentials: at most `capacity` of them, the least recently used out first. One that
/// somebody holds, a flight among them, stays; when all are held, the newcomer is kept for as long
/// as it is held itself.
pub(super) struct Keyed {
    shards: [RwLock<Shard>; SHARDS],
    len: AtomicUsize,
    capacity: usize,
    epoch: Instant,
}

/// Slots are found by the credentials in them, so that a look-up goes to no other memory than a hit does.
type Shard = HashSet<InShard, BuildHasherDefault<Fingerprint>>;

struct InShard(Arc<Slot>);

impl Borrow<ClientCredentials> for InShard {
    fn borrow(&self) -> &ClientCredentials {
        self.0.credentials()
    }
}

impl PartialEq for InShard {
    fn eq(&self, other: &Self) -> bool {
        self.0.credentials() == other.0.credentials()
    }
}

impl Eq for InShard {}

impl Hash for InShard {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.credentials().hash(state);
    }
}

/// Credentials know their hash, keyed at random.
#[derive(Default)]
struct Fingerprint(u64);

impl Hasher for Fingerprint {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}

impl Keyed {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            shards: Default::default(),
            len: AtomicUsize::new(0),
            capacity,
            epoch: Instant::now(),
        }
    }

    /// Looks at a slot under one shard's read lock.
    pub(super) fn with<T>(
        &self,
        credentials: &ClientCredentials,
        now: Instant,
        look: impl FnOnce(&Arc<Slot>) -> T,
    ) -> Option<T> {
        let shard = self.shard(credentials).read().unwrap_or_else(PoisonError::into_inner);
        let InShard(slot) = shard.get(credentials)?;
        self.touch(slot, now);
        Some(look(slot))
    }

    pub(super) fn get_or_insert(&self, credentials: &ClientCredentials) -> Arc<Slot> {
        let now = Instant::now();
        if let Some(slot) = self.with(credentials, now, Arc::clone) {
            return slot;
        }
        let slot = {
            let mut shard = self.shard(credentials).write().unwrap_or_else(PoisonError::into_inner);
            let slot = match shard.get(credentials) {
                Some(InShard(slot)) => slot.clone(),
                None => {
                    let slot = Arc::new(Slot::new(credentials.clone()));
                    shard.insert(InShard(slot.clone()));
                    self.len.fetch_add(1, Ordering::Relaxed);
                    slot
                }
            };
            self.touch(&slot, now);
            slot
        };
        self.trim();
        slot
    }

    pub(super) fn remove(&self, credentials: &ClientCredentials) -> Option<Arc<Slot>> {
        let mut shard = self.shard(credentials).write().unwrap_or_else(PoisonError::into_inner);
        let InShard(slot) = shard.take(credentials)?;
        self.len.fetch_sub(1, Ordering::Relaxed);
        Some(slot)
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Lets go of those that are too many, and of a few more so that this is seldom done.
    pub(super) fn trim(&self) {
        if self.len() <= self.capacity {
            return;
        }
        let mut idle: Vec<(u64, ClientCredentials)> = Vec::new();
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            idle.extend(shard.iter().filter(|InShard(slot)| is_idle(slot)).map(|InShard(slot)| {
                (slot.last_used.load(Ordering::Relaxed), slot.credentials().clone())
            }));
        }
        let surplus = self.len().saturating_sub(self.capacity) + self.capacity / 64;
        if surplus < idle.len() {
            idle.select_nth_unstable_by_key(surplus, |(last_used, _)| *last_used);
            idle.truncate(surplus);
        }
        for (last_used, credentials) in idle {
            // Let go of when the shard's lock is given back.
            let _slot;
            let mut shard =
                self.shard(&credentials).write().unwrap_or_else(PoisonError::into_inner);
            // Nobody can come to hold it while the shard is locked for writing.
            if shard.get(&credentials).is_some_and(|InShard(slot)| {
                is_idle(slot) && slot.last_used.load(Ordering::Relaxed) == last_used
            }) {
                _slot = shard.take(&credentials);
                self.len.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Tells every slot that nobody will ask for it again.
    pub(super) fn retire(&self) {
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            shard.iter().for_each(|InShard(slot)| slot.retire());
        }
    }

    fn shard(&self, credentials: &ClientCredentials) -> &RwLock<Shard> {
        // The map inside uses the low bits and the top seven.
        &self.shards[(credentials.fingerprint() >> 48) as usize % SHARDS]
    }

    fn touch(&self, slot: &Slot, now: Instant) {
        let now = now.saturating_duration_since(self.epoch).as_millis() as u64;
        // Mostly it says so already, and a line that many cores read stays clean.
        if slot.last_used.load(Ordering::Relaxed) != now {
            slot.last_used.store(now, Ordering::Relaxed);
        }
    }
}

fn is_idle(slot: &Arc<Slot>) -> bool {
    Arc::strong_count(slot) == 1
}
