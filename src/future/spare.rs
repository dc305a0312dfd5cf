//! Where another one of the inner service comes from.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use crate::shared::Shared;

/// A clone of the inner service that is never made ready, to be cloned again when a request has to be
/// sent again: few have to, and all can have one.
pub(crate) struct Spare<S> {
    pub(super) shared: Arc<Shared>,
    /// Locked to clone only.
    service: Mutex<S>,
}

impl<S: Clone> Spare<S> {
    pub(crate) fn new(shared: Arc<Shared>, service: &S) -> Arc<Self> {
        Arc::new(Self { shared, service: Mutex::new(service.clone()) })
    }

    pub(super) fn service(&self) -> S {
        self.service.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Puts a clone that is not yet ready in the place of a service that is ready and will not be called,
/// so that whoever waits holds nothing.
pub(crate) fn release<S: Clone>(service: &mut S) {
    let spare = service.clone();
    drop(mem::replace(service, spare));
}
