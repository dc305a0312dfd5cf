//! Keeps a token fetched and renewed without traffic (C11).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::timeout_at;

use super::fetcher::Fetcher;
use super::machine::Requirements;
use super::slot::Slot;
use crate::error::{TokenError, TokenErrorKind};
use crate::runtime;

/// Renews the token of `slot` until the slot is retired: with the last handle of its cache, or when
/// its credentials are removed.
pub(super) fn keep_warm(slot: Arc<Slot>, fetcher: Arc<Fetcher>) -> Result<(), TokenError> {
    let Some(runtime) = runtime::current() else {
        return Err(slot.error(TokenErrorKind::NoRuntime));
    };
    if slot.is_kept_warm.swap(true, Ordering::AcqRel) {
        return Ok(());
    }
    let warm = WarmSlot(slot);
    runtime.spawn(async move {
        let slot = &warm.0;
        loop {
            // A failure is remembered in the slot, which says when to come back.
            let _ = slot.get(&fetcher, Requirements::default()).await;
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
struct WarmSlot(Arc<Slot>);

impl Drop for WarmSlot {
    fn drop(&mut self) {
        self.0.is_kept_warm.store(false, Ordering::Release);
    }
}
