//! Keeps a token fetched and renewed without traffic (C11).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::timeout_at;

use super::machine::Requirements;
use super::slot::Slot;
use crate::error::{TokenError, TokenErrorKind};
use crate::util::runtime;

/// Renews the token of a slot while any handle to the slot exists.
pub(super) fn keep_warm(slot: &Arc<Slot>) -> Result<(), TokenError> {
    let Some(runtime) = runtime::current() else {
        return Err(slot.error(TokenErrorKind::NoRuntime));
    };
    if slot.is_kept_warm.swap(true, Ordering::AcqRel) {
        return Ok(());
    }
    // The task holds no handle, because it must end when callers hold none.
    let mut warm = WarmSlot(Some(slot.clone()));
    runtime.spawn(async move {
        while let Some(slot) = &warm.0 {
            while slot.is_held() {
                // A hit without a runtime may have left the renewal to others.
                slot.tick();
                // A failure is remembered in the slot, which says when to come back.
                let _ = slot.get(Requirements::default()).await;
                let changed = slot.changed.notified();
                if slot.is_held() {
                    drop(timeout_at(slot.next_keep_warm(), changed).await);
                }
            }
            // A new holder may have called `keep_warm` while this task was still marked. The swap
            // reads that holder's swap, so its handle is visible. A store does not read.
            slot.is_kept_warm.swap(false, Ordering::AcqRel);
            if !slot.is_held() || slot.is_kept_warm.swap(true, Ordering::AcqRel) {
                warm.0 = None;
            }
        }
    });
    Ok(())
}

/// Lets another keep-warm task start when this one is dropped with its runtime.
///
/// `None` once the task has ended by itself.
struct WarmSlot(Option<Arc<Slot>>);

impl Drop for WarmSlot {
    fn drop(&mut self) {
        if let Some(slot) = &self.0 {
            slot.is_kept_warm.store(false, Ordering::Release);
        }
    }
}
