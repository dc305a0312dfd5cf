//! What lies behind a request that is out.

use super::replay::Rejected;
use crate::cache::Grant;
use crate::dpop::SentProof;

/// What is known of a request that is out with a proof, or not for the first time.
pub(super) struct History {
    pub(super) sent: Option<SentProof>,
    pub(super) grant: Grant,
    /// The first token was.
    pub(super) rejected: Option<Rejected>,
    /// It was sent again with another proof, and is not once more.
    pub(super) is_corrected: bool,
}
