//! Warns of probable mistakes in credentials and tokens, once for each slot.

use std::sync::atomic::{AtomicBool, Ordering};

use super::slot::Slot;
use crate::token::AccessToken;
use crate::util::printable::Printable;

/// Remembers which warnings a slot has given.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    are_settings_checked: AtomicBool,
    /// A token had a narrower scope than requested.
    is_scope_reported: AtomicBool,
}

impl Slot {
    /// Warns of settings that are probably mistakes, at the first call only.
    pub(super) fn warn_of_settings(&self) {
        if self.warnings.are_settings_checked.swap(true, Ordering::Relaxed) {
            return;
        }
        let credentials = self.credentials();
        if let Some(scope) = credentials.requested_scope().find(|name| name.contains(',')) {
            tracing::warn!(
                label = credentials.label_field(),
                endpoint = %Printable(credentials.server()),
                scope = %Printable(scope),
                "a scope has a comma; names in a scope are separated by spaces"
            );
        }
        for setting in credentials.settings_with_faults() {
            tracing::warn!(
                label = credentials.label_field(),
                endpoint = %Printable(credentials.server()),
                setting = %Printable(setting),
                "a setting has control characters or a byte order mark"
            );
        }
    }

    /// Warns of the first token with a narrower scope than requested.
    pub(super) fn warn_of_scope(&self, token: &AccessToken) {
        let Some(missing) = token.missing_scope() else {
            return;
        };
        if self.warnings.is_scope_reported.swap(true, Ordering::Relaxed) {
            return;
        }
        let credentials = self.credentials();
        tracing::warn!(
            label = credentials.label_field(),
            endpoint = %Printable(credentials.server()),
            missing = %Printable(missing),
            "the token has a narrower scope than requested"
        );
    }
}
