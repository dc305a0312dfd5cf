//! Keeps a token fetched and renewed without traffic (C11).

use std::sync::atomic::Ordering;

use tokio::time::timeout_at;

use super::machine::Requirements;
use super::slot_guard::SlotGuard;
use crate::error::{TokenError, TokenErrorKind};
use crate::util::runtime;

/// Renews the token of a slot until the slot is retired: with the last handle of its cache, or when
/// its credentials are removed.
pub(super) fn keep_warm(guard: SlotGuard) -> Result<(), TokenError> {
    let Some(runtime) = runtime::current() else {
        return Err(guard.slot().error(TokenErrorKind::NoRuntime));
    };
    if guard.slot().is_kept_warm.swap(true, Ordering::AcqRel) {
        return Ok(());
    }
    let warm = WarmSlot(guard);
    runtime.spawn(async move {
        let fetcher = warm.0.fetcher();
        let slot = warm.0.slot();
        loop {
            // A hit without a runtime may have left the renewal to others.
            slot.tick(fetcher);
            // A failure is remembered in the slot, which says when to come back.
            let _ = slot.get(fetcher, Requirements::default()).await;
            let changed = slot.changed.notified();
            if slot.is_retired() {
                return;
            }
            drop(timeout_at(slot.next_keep_warm(), changed).await);
        }
    });
    Ok(())
}

/// Lets another keep-warm task start when this one ends, for example with its runtime.
struct WarmSlot(SlotGuard);

impl Drop for WarmSlot {
    fn drop(&mut self) {
        self.0.slot().is_kept_warm.store(false, Ordering::Release);
    }
}
