//! Remembers leases that were waited for in vain (S5).

use std::sync::{Mutex, MutexGuard};

use crate::util::bounded_map::BoundedMap;
use crate::util::sync::LockExt;

/// The number of leases that are remembered.
const MAX_KEYS: usize = 1024;

/// The keys whose lease did not become free while this process waited for it.
///
/// A holder that hangs, or anybody else who can write to the store, can hold a lease for ever. Each
/// token request would wait for one and a half leases otherwise. A key is forgotten once its lease
/// is free, or once another process stores a token while this one waits.
#[derive(Debug)]
pub(super) struct Patience(Mutex<BoundedMap<String, ()>>);

impl Default for Patience {
    fn default() -> Self {
        Self(Mutex::new(BoundedMap::with_capacity(MAX_KEYS)))
    }
}

impl Patience {
    /// Returns whether this process still waits for the lease on `key`.
    pub(super) fn is_left(&self, key: &str) -> bool {
        self.lock().get_mut(key).is_none()
    }

    /// Records that this process has waited for the lease on `key` in vain.
    pub(super) fn exhaust(&self, key: &str) {
        self.lock().get_or_default(key);
    }

    /// Lets this process wait for the lease on `key` again.
    pub(super) fn restore(&self, key: &str) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, BoundedMap<String, ()>> {
        self.0.lock_unpoisoned()
    }
}
