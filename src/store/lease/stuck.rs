//! Remembers leases that did not become free in time (S5).

use std::sync::{Mutex, MutexGuard};

use crate::util::bounded_map::BoundedMap;
use crate::util::sync::LockExt;

/// The number of leases that are remembered.
const MAX_KEYS: usize = 1024;

/// The keys whose lease did not become free while this process waited for it.
///
/// An owner that hangs, or an attacker who can write to the store, can hold a lease forever.
/// Without this set, each token request would wait for one and a half times the duration of a
/// lease. A key is removed once its lease is free, or once another process stores a token while
/// this one waits.
#[derive(Debug)]
pub(in crate::store) struct StuckLeases(Mutex<BoundedMap<String, ()>>);

impl Default for StuckLeases {
    fn default() -> Self {
        Self(Mutex::new(BoundedMap::with_capacity(MAX_KEYS)))
    }
}

impl StuckLeases {
    /// Returns whether the lease on `key` is stuck, and marks the key as recently used.
    pub(in crate::store) fn contains(&self, key: &str) -> bool {
        self.lock().get_mut(key).is_some()
    }

    pub(in crate::store) fn insert(&self, key: &str) {
        self.lock().get_or_default(key);
    }

    pub(in crate::store) fn remove(&self, key: &str) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, BoundedMap<String, ()>> {
        self.0.lock_unpoisoned()
    }
}
