//! A request that is out with a proof of possession.

use super::replay::Rejected;
use crate::cache::Grant;
use crate::dpop::Sent;

/// A request that went out with a proof, and the token that it proves the possession of.
pub(super) struct Proven {
    pub(super) sent: Sent,
    pub(super) grant: Grant,
    pub(super) rejected: Option<Rejected>,
    /// It was sent again with another proof, and is not once more.
    pub(super) is_corrected: bool,
}

/// The same where futures are moved: one word, and none at all if there are no proofs.
#[cfg(feature = "jwt")]
pub(super) struct Carried(Box<Proven>);

#[cfg(not(feature = "jwt"))]
pub(super) enum Carried {}

impl Carried {
    #[cfg(feature = "jwt")]
    pub(super) fn new(proven: Proven) -> Self {
        Self(Box::new(proven))
    }

    #[cfg(not(feature = "jwt"))]
    pub(super) fn new(proven: Proven) -> Self {
        match proven.sent {}
    }

    #[cfg(feature = "jwt")]
    pub(super) fn open(self) -> Proven {
        *self.0
    }

    #[cfg(not(feature = "jwt"))]
    pub(super) fn open(self) -> Proven {
        match self {}
    }
}
