//! The leases of this process, so that those of its dead fetches are adopted (C3).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::time::sleep;

use crate::util::liveness::{BEAT_INTERVAL, Liveness};
use crate::util::sync::LockExt;

/// One token request that holds a lease or asks the store for it.
pub(super) struct Claim {
    /// The owner of the lease in the store.
    owner: String,
    liveness: Arc<Liveness>,
    is_adopted: AtomicBool,
}

/// The claims of this process by the key of their lease: at most one per lease that it holds or
/// asks for.
#[derive(Default)]
pub(super) struct Claims(Mutex<HashMap<String, Arc<Claim>>>);

impl Claim {
    /// Creates a claim with an owner that is unique in the fleet.
    pub(super) fn new(liveness: &Arc<Liveness>) -> Arc<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let owner = format!("{:x}-{count:x}-{:032x}", std::process::id(), fastrand::u128(..));
        Self::with_owner(owner, liveness)
    }

    fn with_owner(owner: String, liveness: &Arc<Liveness>) -> Arc<Self> {
        let liveness = liveness.clone();
        Arc::new(Self { owner, liveness, is_adopted: AtomicBool::new(false) })
    }

    pub(super) fn owner(&self) -> &str {
        &self.owner
    }

    /// Returns whether another token request has adopted the lease, or supersedes the fetch.
    pub(super) fn is_superseded(&self) -> bool {
        self.is_adopted.load(Ordering::Acquire) || self.liveness.is_superseded()
    }
}

impl Claims {
    /// Records who asks the store for a lease, unless another claim may hold it.
    pub(super) fn propose(&self, key: &str, claim: &Arc<Claim>) {
        self.lock().entry(key.to_owned()).or_insert_with(|| claim.clone());
    }

    /// Records who holds a lease.
    pub(super) fn confirm(&self, key: &str, claim: &Arc<Claim>) {
        self.lock().insert(key.to_owned(), claim.clone());
    }

    /// Replaces the claim of a dead fetch by one with the same owner.
    ///
    /// Returns `None` if that fetch has released its lease, or another one has adopted it.
    pub(super) fn adopt(
        &self,
        key: &str,
        dead: &Arc<Claim>,
        liveness: &Arc<Liveness>,
    ) -> Option<Arc<Claim>> {
        let mut claims = self.lock();
        let held = claims.get_mut(key).filter(|held| Arc::ptr_eq(held, dead))?;
        // Set under the lock: after `withdraw`, a claim can no longer be adopted.
        held.is_adopted.store(true, Ordering::Release);
        *held = Claim::with_owner(dead.owner.clone(), liveness);
        Some(held.clone())
    }

    /// Removes a claim. Returns whether its lease may be released, because nobody has adopted it.
    pub(super) fn withdraw(&self, key: &str, claim: &Arc<Claim>) -> bool {
        let mut claims = self.lock();
        if claims.get(key).is_some_and(|held| Arc::ptr_eq(held, claim)) {
            claims.remove(key);
        }
        !claim.is_adopted.load(Ordering::Acquire)
    }

    /// Waits until this process has a claim on the lease whose fetch is presumed dead.
    pub(super) async fn dead_claim(&self, key: &str) -> Arc<Claim> {
        loop {
            let Some(claim) = self.get(key) else {
                // Another process holds the lease.
                sleep(BEAT_INTERVAL).await;
                continue;
            };
            claim.liveness.silence().await;
            if self.get(key).is_some_and(|held| Arc::ptr_eq(&held, &claim)) {
                return claim;
            }
        }
    }

    fn get(&self, key: &str) -> Option<Arc<Claim>> {
        self.lock().get(key).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Claim>>> {
        self.0.lock_unpoisoned()
    }
}

#[cfg(all(test, not(races)))]
mod tests {
    use super::*;

    fn fetch() -> Arc<Liveness> {
        Arc::new(Liveness::default())
    }

    /// Returns a claim that is held for `fetch`.
    fn held(claims: &Claims, fetch: &Arc<Liveness>) -> Arc<Claim> {
        let claim = Claim::new(&Arc::new(Liveness::part_of(Some(fetch))));
        claims.propose("key", &claim);
        claims.confirm("key", &claim);
        claim
    }

    // C3, S5
    #[tokio::test(start_paused = true)]
    async fn a_superseded_claim_is_adopted_at_once_with_its_owner() {
        let (claims, first, second) = (Claims::default(), fetch(), fetch());
        let claim = held(&claims, &first);
        first.supersede();
        let start = tokio::time::Instant::now();
        let dead = claims.dead_claim("key").await;
        assert_eq!(start.elapsed(), std::time::Duration::ZERO);
        let adopted = claims.adopt("key", &dead, &second).unwrap();
        assert_eq!(adopted.owner(), claim.owner());
        assert!(!adopted.is_superseded());
        assert!(claims.adopt("key", &dead, &second).is_none(), "it is adopted once");
    }

    // C3, S5
    #[test]
    fn an_adopted_lease_is_released_by_its_last_claim_only() {
        let (claims, second) = (Claims::default(), fetch());
        let claim = held(&claims, &fetch());
        let adopted = claims.adopt("key", &claim, &second).unwrap();
        assert!(claim.is_superseded());
        assert!(!claims.withdraw("key", &claim));
        assert!(claims.withdraw("key", &adopted));
        assert!(claims.lock().is_empty());
    }

    // C3, S5
    #[test]
    fn a_superseded_lease_that_nobody_adopted_is_released() {
        let (claims, first) = (Claims::default(), fetch());
        let claim = held(&claims, &first);
        first.supersede();
        assert!(claim.is_superseded());
        assert!(claims.withdraw("key", &claim));
        assert!(claims.adopt("key", &claim, &fetch()).is_none(), "it is released");
        assert!(claims.lock().is_empty());
    }

    #[test]
    fn a_claim_that_is_proposed_displaces_no_other() {
        let claims = Claims::default();
        let claim = held(&claims, &fetch());
        let other = Claim::new(&fetch());
        claims.propose("key", &other);
        assert!(Arc::ptr_eq(&claims.get("key").unwrap(), &claim));
        assert!(claims.withdraw("key", &other));
        assert!(Arc::ptr_eq(&claims.get("key").unwrap(), &claim));
        // The lease of `claim` has ended in the store.
        claims.confirm("key", &other);
        assert!(claims.withdraw("key", &claim));
        assert!(Arc::ptr_eq(&claims.get("key").unwrap(), &other));
    }
}
