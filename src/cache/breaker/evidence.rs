//! Judges a rejection by the API's earlier responses.

use std::num::NonZeroU64;

use super::Target;
use crate::cache::issued::IssueId;

/// Tells revoked tokens from an API that rejects good ones.
///
/// A rejection shows that the token was revoked if the same origin has accepted it before. The
/// origin may also have accepted only the token before it, if that one was replaced because of a
/// rejection: a new token can be revoked before the origin has seen it. A second such replacement
/// in a row is no longer evidence, so that an API that breaks permanently costs one token request.
///
/// A path that is forbidden on a healthy origin looks like a revocation. A rejected fresh token
/// shows the difference. The evidence for this method and path is ignored after that, until a token
/// is accepted there.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// The origins that accepted the newest two tokens of those that were accepted at all.
    newest: AcceptingOrigins,
    previous: AcceptingOrigins,
    /// The last token that was replaced because of a rejection. 0 if none was.
    replaced_issue: IssueId,
    misleading: RecentResources,
    /// The [`acceptance_hash`] of the last acceptance. 0 if there was none.
    last_acceptance: u32,
}

/// Remembers which origins have accepted one token.
///
/// This is a Bloom filter, which may name an origin by mistake. The allowance bounds the cost.
#[derive(Clone, Copy, Debug, Default)]
struct AcceptingOrigins {
    issue: IssueId,
    bits: [u64; 4],
}

/// Remembers the last eight resources whose evidence was misleading.
#[derive(Debug, Default)]
struct RecentResources {
    entries: [Option<NonZeroU64>; 8],
    next: usize,
}

impl Evidence {
    /// Returns whether the rejection of this token shows that it was revoked.
    pub(super) fn shows_revocation(&self, issue: IssueId, target: Target) -> bool {
        self.has_accepted(issue, target.origin) && !self.misleading.contains(target.resource)
    }

    /// Records that a fresh token was rejected after a resend.
    pub(super) fn fresh_token_rejected(&mut self, issue: IssueId, target: Target) {
        if self.has_accepted(issue, target.origin) {
            self.misleading.insert(target.resource);
        }
    }

    pub(super) fn token_accepted(&mut self, issue: IssueId, target: Target) {
        self.last_acceptance = acceptance_hash(issue, target.origin);
        self.misleading.remove(target.resource);
        if issue > self.newest.issue {
            self.previous = std::mem::take(&mut self.newest);
            self.newest.issue = issue;
        }
        for accepted in [&mut self.newest, &mut self.previous] {
            if accepted.issue == issue {
                accepted.insert(target.origin);
            }
        }
    }

    /// Records that the token will be replaced because of a rejection.
    pub(super) fn rejection_counted(&mut self, issue: IssueId) {
        self.replaced_issue = issue;
    }

    /// Returns the value for [`Breaker::acceptance_hint`](super::Breaker::acceptance_hint).
    pub(super) fn hint(&self) -> u32 {
        match self.last_acceptance {
            // A known origin may accept a token for a resource that was misleading. So no hash
            // allows the caller to skip the report while there are misleading resources.
            hash if hash != 0 && self.misleading.is_empty() => hash,
            _ => 1,
        }
    }

    /// Returns whether the origin has accepted the token, or the one that it replaced.
    fn has_accepted(&self, issue: IssueId, origin: u64) -> bool {
        [self.newest, self.previous].iter().any(|accepted| {
            (accepted.issue == issue || accepted.issue == self.replaced_issue)
                && accepted.contains(origin)
        })
    }
}

/// Hashes an acceptance for [`Breaker::acceptance_hint`](super::Breaker::acceptance_hint).
///
/// The result is never 0 or 1.
pub(crate) fn acceptance_hash(issue: IssueId, origin: u64) -> u32 {
    (mix(issue ^ origin) >> 32) as u32 | 2
}

fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 31)).wrapping_mul(0x7fb5_d329_728e_a185);
    n ^ (n >> 27)
}

impl AcceptingOrigins {
    /// Returns the two positions of an origin in the filter: the word and its bit.
    fn positions(origin: u64) -> [(usize, u64); 2] {
        let hash = mix(origin);
        [hash, hash >> 32].map(|half| ((half >> 6) as usize % 4, 1 << (half % 64)))
    }

    fn insert(&mut self, origin: u64) {
        for (word, bit) in Self::positions(origin) {
            self.bits[word] |= bit;
        }
    }

    fn contains(&self, origin: u64) -> bool {
        Self::positions(origin).iter().all(|(word, bit)| self.bits[*word] & bit != 0)
    }
}

impl RecentResources {
    fn is_empty(&self) -> bool {
        self.entries.iter().all(Option::is_none)
    }

    fn contains(&self, resource: u64) -> bool {
        self.entries.contains(&Some(Self::entry(resource)))
    }

    /// Adds a resource instead of the oldest one.
    fn insert(&mut self, resource: u64) {
        if !self.contains(resource) {
            self.entries[self.next] = Some(Self::entry(resource));
            self.next = (self.next + 1) % self.entries.len();
        }
    }

    fn remove(&mut self, resource: u64) {
        let entry = Some(Self::entry(resource));
        self.entries.iter_mut().filter(|known| **known == entry).for_each(|known| *known = None);
    }

    /// Returns the hash as an entry. A hash of 0 becomes 1, because 0 marks an empty entry.
    fn entry(resource: u64) -> NonZeroU64 {
        NonZeroU64::new(resource).unwrap_or(NonZeroU64::MIN)
    }
}
