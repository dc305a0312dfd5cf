//! Provides further clones of the inner service.

use std::mem;
use std::sync::{Arc, Mutex};

use super::config::LayerConfig;
use super::target::ServiceId;
use crate::util::sync::LockExt;

/// Holds a clone of the inner service that is never made ready.
///
/// A resend needs a clone of the inner service. Few requests are resent, so all requests of one
/// service share this clone, and each resend clones it again.
pub(super) struct ServiceTemplate<S> {
    pub(super) config: Arc<LayerConfig>,
    pub(super) service_id: ServiceId,
    /// Locked only while it is cloned, because a service need not be `Sync`.
    service: Mutex<S>,
}

impl<S: Clone> ServiceTemplate<S> {
    pub(super) fn new(config: Arc<LayerConfig>, service_id: ServiceId, service: &S) -> Arc<Self> {
        Arc::new(Self { config, service_id, service: Mutex::new(service.clone()) })
    }

    /// Returns a clone of the inner service that is not ready.
    pub(super) fn instantiate(&self) -> S {
        self.service.lock_unpoisoned().clone()
    }
}

/// Replaces a ready service that will not be called with an unready clone.
///
/// A ready service may hold a permit or a connection. A request that waits must hold neither (R5).
pub(super) fn replace_with_unready<S: Clone>(service: &mut S) {
    let unready = service.clone();
    drop(mem::replace(service, unready));
}
