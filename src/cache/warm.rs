//! Keeping a token warm without traffic.

use std::sync::atomic::Ordering;

use tokio::runtime::Handle;
use tokio::time::timeout_at;

use super::SlotGuard;
use crate::error::{TokenError, TokenErrorKind};

/// Renews the token of `slot` until the slot is retired: with its cache's last handle, or when its
/// credentials are removed.
pub(super) fn keep_warm(held: SlotGuard) -> Result<(), TokenError> {
    let slot = held.slot();
    let runtime = Handle::try_current().map_err(|_| slot.error(TokenErrorKind::NoRuntime))?;
    if slot.is_kept_warm.swap(true, Ordering::AcqRel) {
        return Ok(());
    }
    let kept = Kept(held);
    runtime.spawn(async move {
        let slot = kept.0.slot();
        loop {
            // A failure is remembered in the slot, and tells when to come back.
            let _ = slot.get(&kept.0.control).await;
            let changed = slot.changed.notified();
            if slot.is_retired() {
                return;
            }
            drop(timeout_at(slot.next_look(), changed).await);
        }
    });
    Ok(())
}

/// However the task ends, with its runtime for one, another may begin.
struct Kept(SlotGuard);

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.slot().is_kept_warm.store(false, Ordering::Release);
    }
}
