//! Remembers claims that APIs require, and claims that the token endpoint refused (R7).

use std::sync::Arc;

use crate::protocol::challenge;
use crate::util::clock::Now;

/// Limits the claims that one token request carries.
const MAX_CLAIMS: usize = 4;
/// Limits the refusals that one slot remembers.
const MAX_REFUSALS: usize = 8;

/// Holds claims challenges, as JSON texts. A fifth text displaces the oldest one.
// The slice is boxed, because most tokens and credentials have no claims. It is never empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claims(Option<Box<[Arc<str>]>>);

impl Claims {
    /// Creates the claims of one challenge.
    pub(crate) fn single(text: impl Into<Arc<str>>) -> Self {
        Self(Some([text.into()].into()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns whether every text of `other` is among these.
    pub(super) fn covers(&self, other: &Self) -> bool {
        other.texts().iter().all(|text| self.texts().contains(text))
    }

    /// Adds the texts of `other` as the newest ones.
    pub(super) fn merge(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        let older = self.texts().iter().filter(|text| !other.texts().contains(text));
        let mut texts: Vec<_> = older.chain(other.texts()).cloned().collect();
        texts.drain(..texts.len().saturating_sub(MAX_CLAIMS));
        self.0 = Some(texts.into());
    }

    pub(super) fn remove(&mut self, other: &Self) {
        let texts = self.texts().iter().filter(|text| !other.texts().contains(text));
        let texts: Box<[_]> = texts.cloned().collect();
        self.0 = (!texts.is_empty()).then_some(texts);
    }

    /// Returns the newest text alone.
    pub(super) fn newest(&self) -> Self {
        self.texts().last().map_or_else(Self::default, |text| Self::single(text.clone()))
    }

    /// Returns these claims without those of `other`.
    pub(super) fn without(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        rest.remove(other);
        rest
    }

    fn texts(&self) -> &[Arc<str>] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Returns the value of the `claims` parameter, or `None` if there are no claims.
    ///
    /// The same texts give the same value in any order, because stores compare it.
    pub(super) fn to_parameter(&self) -> Option<Arc<str>> {
        let mut sorted = self.texts().to_vec();
        sorted.sort_unstable();
        let merge = |one: Arc<str>, other: Arc<str>| challenge::merge_claims(&one, &other).into();
        sorted.into_iter().reduce(merge)
    }
}

/// Remembers claims that the token endpoint refused.
#[derive(Debug)]
struct Refusal {
    claims: Claims,
    /// The end of the back-off. Either clock can reach it.
    until: Now,
    /// The version of the credentials with which they were requested.
    version: u64,
    /// The number of consecutive refusals of these claims.
    times: u32,
}

/// Holds the last refusals, in a box because idle credentials have none.
#[derive(Debug, Default)]
#[allow(clippy::box_collection, reason = "idle credentials pay for a pointer only")]
pub(super) struct Refusals(Option<Box<Vec<Refusal>>>);

impl Refusals {
    /// Returns whether the token endpoint has just refused exactly these claims.
    ///
    /// A subset of refused claims may still be granted, so it is requested.
    pub(super) fn contains(&self, claims: &Claims, now: Now) -> bool {
        !claims.is_empty() && self.remembered(now).any(|refusal| refusal.claims == *claims)
    }

    /// Returns whether these claims are among those of one refusal.
    pub(super) fn cover(&self, claims: &Claims, now: Now) -> bool {
        self.remembered(now).any(|refusal| refusal.claims.covers(claims))
    }

    /// Remembers a refusal.
    ///
    /// `backoff` returns for how long, given the number of consecutive refusals. If there are too
    /// many refusals, the oldest one is dropped.
    pub(super) fn insert(
        &mut self,
        claims: Claims,
        version: u64,
        backoff: impl FnOnce(u32) -> Now,
    ) {
        let earlier = self.all().find(|refusal| refusal.claims == claims);
        let times = earlier.map_or(1, |refusal| refusal.times.saturating_add(1));
        let all = self.0.get_or_insert_default();
        all.retain(|refusal| refusal.claims != claims);
        if all.len() >= MAX_REFUSALS {
            all.remove(0);
        }
        all.push(Refusal { claims, until: backoff(times), version, times });
    }

    /// Forgets the refusals of claims that were granted, and those of other credentials.
    pub(super) fn forget_outdated(&mut self, granted: &Claims, version: u64) {
        if let Some(all) = &mut self.0 {
            all.retain(|refusal| refusal.version == version && !granted.covers(&refusal.claims));
            if all.is_empty() {
                self.0 = None;
            }
        }
    }

    fn remembered(&self, now: Now) -> impl Iterator<Item = &Refusal> {
        self.all().filter(move |refusal| !now.has_reached(refusal.until))
    }

    fn all(&self) -> impl Iterator<Item = &Refusal> {
        self.0.iter().flat_map(|all| all.iter())
    }
}
