//! Holds a slot while a caller or a task uses it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::slot::Slot;

/// Holds a slot, which is not evicted before its last handle is dropped.
///
/// A clone changes counters of its own slot only, so threads that use different credentials do not
/// write to the same memory.
#[derive(Debug)]
pub(super) struct SlotHandle(Arc<Slot>);

impl SlotHandle {
    /// Holds `slot`. The caller must hold the lock on the slot's table, or another handle, so that
    /// the slot is not evicted in the meantime.
    pub(super) fn new(slot: &Arc<Slot>) -> Self {
        slot.holders.fetch_add(1, Ordering::Relaxed);
        Self(slot.clone())
    }
}

impl Deref for SlotHandle {
    type Target = Arc<Slot>;

    #[inline]
    fn deref(&self) -> &Arc<Slot> {
        &self.0
    }
}

impl Clone for SlotHandle {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

impl Drop for SlotHandle {
    fn drop(&mut self) {
        // `Release` and `Acquire` order all uses of the slot before its eviction.
        if self.0.holders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.released();
        }
    }
}
