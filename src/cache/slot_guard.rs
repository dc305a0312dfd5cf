//! Holds a slot while a caller or a task uses it.

use std::sync::Arc;

use super::fetcher::Fetcher;
use super::slot::Slot;

/// Holds a slot, which is not evicted before the guard is dropped.
pub(super) struct SlotGuard {
    /// `None` during drop only.
    slot: Option<Arc<Slot>>,
    fetcher: Arc<Fetcher>,
}

impl SlotGuard {
    pub(super) fn new(slot: Arc<Slot>, fetcher: &Arc<Fetcher>) -> Self {
        Self { slot: Some(slot), fetcher: fetcher.clone() }
    }

    pub(super) fn fetcher(&self) -> &Arc<Fetcher> {
        &self.fetcher
    }

    pub(super) fn slot(&self) -> &Arc<Slot> {
        self.slot.as_ref().expect("the slot is taken on drop only")
    }

    /// Lets the sweeper close the slot's breaker if there is no further traffic.
    pub(super) fn watch_breaker(&self) {
        if self.slot().is_suspicious() {
            self.fetcher.watch_breaker(self.slot());
        }
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.fetcher.slots.release(slot);
        }
    }
}
