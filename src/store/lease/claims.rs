//! Records the leases of this process, so that those of dead fetches are adopted (C3).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::time::sleep;

use crate::util::liveness::{BEAT_INTERVAL, Liveness};
use crate::util::sync::LockExt;

/// Describes a token request that holds a lease or is acquiring it.
pub(in crate::store) struct LeaseClaim {
    /// The owner of the lease in the store.
    owner: String,
    liveness: Arc<Liveness>,
    is_adopted: AtomicBool,
}

/// The claims of this process by the key of their lease.
///
/// There is at most one claim per lease.
#[derive(Default)]
pub(in crate::store) struct LeaseClaims(Mutex<HashMap<String, Arc<LeaseClaim>>>);

impl LeaseClaim {
    /// Creates a claim whose owner is unique among all processes.
    pub(in crate::store) fn new(liveness: &Arc<Liveness>) -> Arc<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let owner = format!("{:x}-{count:x}-{:032x}", std::process::id(), fastrand::u128(..));
        Self::with_owner(owner, liveness)
    }

    fn with_owner(owner: String, liveness: &Arc<Liveness>) -> Arc<Self> {
        let liveness = liveness.clone();
        Arc::new(Self { owner, liveness, is_adopted: AtomicBool::new(false) })
    }

    pub(in crate::store) fn owner(&self) -> &str {
        &self.owner
    }

    /// Returns whether another token request has adopted the lease or superseded the fetch.
    pub(in crate::store) fn is_superseded(&self) -> bool {
        self.is_adopted.load(Ordering::Acquire) || self.liveness.is_superseded()
    }
}

impl LeaseClaims {
    /// Records the claim that is acquiring a lease, unless another claim may hold it.
    pub(in crate::store) fn propose(&self, key: &str, claim: &Arc<LeaseClaim>) {
        self.lock().entry(key.to_owned()).or_insert_with(|| claim.clone());
    }

    /// Records the claim that holds a lease.
    pub(in crate::store) fn confirm(&self, key: &str, claim: &Arc<LeaseClaim>) {
        self.lock().insert(key.to_owned(), claim.clone());
    }

    /// Replaces the claim of a dead fetch by one with the same owner.
    ///
    /// Returns `None` if that fetch has released its lease, or another fetch has adopted it.
    pub(in crate::store) fn adopt(
        &self,
        key: &str,
        dead: &Arc<LeaseClaim>,
        liveness: &Arc<Liveness>,
    ) -> Option<Arc<LeaseClaim>> {
        let mut claims = self.lock();
        let held = claims.get_mut(key).filter(|held| Arc::ptr_eq(held, dead))?;
        // The flag is set under the lock, because a claim can no longer be adopted after
        // `withdraw`.
        held.is_adopted.store(true, Ordering::Release);
        *held = LeaseClaim::with_owner(dead.owner.clone(), liveness);
        Some(held.clone())
    }

    /// Removes a claim. Returns whether its lease may be released, because it was not adopted.
    pub(in crate::store) fn withdraw(&self, key: &str, claim: &Arc<LeaseClaim>) -> bool {
        let mut claims = self.lock();
        if claims.get(key).is_some_and(|held| Arc::ptr_eq(held, claim)) {
            claims.remove(key);
        }
        !claim.is_adopted.load(Ordering::Acquire)
    }

    /// Waits for a claim of this process on the lease whose fetch is presumed dead.
    pub(in crate::store) async fn dead_claim(&self, key: &str) -> Arc<LeaseClaim> {
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

    fn get(&self, key: &str) -> Option<Arc<LeaseClaim>> {
        self.lock().get(key).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<LeaseClaim>>> {
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
    fn held(claims: &LeaseClaims, fetch: &Arc<Liveness>) -> Arc<LeaseClaim> {
        let claim = LeaseClaim::new(&Arc::new(Liveness::part_of(Some(fetch))));
        claims.propose("key", &claim);
        claims.confirm("key", &claim);
        claim
    }

    // C3, S5
    #[tokio::test(start_paused = true)]
    async fn a_superseded_claim_is_adopted_at_once_with_its_owner() {
        let (claims, first, second) = (LeaseClaims::default(), fetch(), fetch());
        let claim = held(&claims, &first);
        first.supersede();
        let start = tokio::time::Instant::now();
        let dead = claims.dead_claim("key").await;
        assert_eq!(start.elapsed(), std::time::Duration::ZERO);
        let adopted = claims.adopt("key", &dead, &second).unwrap();
        assert_eq!(adopted.owner(), claim.owner());
        assert!(!adopted.is_superseded());
        assert!(claims.adopt("key", &dead, &second).is_none(), "a claim can be adopted once");
    }

    // C3, S5
    #[test]
    fn only_the_last_claim_releases_an_adopted_lease() {
        let (claims, second) = (LeaseClaims::default(), fetch());
        let claim = held(&claims, &fetch());
        let adopted = claims.adopt("key", &claim, &second).unwrap();
        assert!(claim.is_superseded());
        assert!(!claims.withdraw("key", &claim));
        assert!(claims.withdraw("key", &adopted));
        assert!(claims.lock().is_empty());
    }

    // C3, S5
    #[test]
    fn a_superseded_lease_that_was_not_adopted_is_released() {
        let (claims, first) = (LeaseClaims::default(), fetch());
        let claim = held(&claims, &first);
        first.supersede();
        assert!(claim.is_superseded());
        assert!(claims.withdraw("key", &claim));
        assert!(
            claims.adopt("key", &claim, &fetch()).is_none(),
            "a released claim cannot be adopted"
        );
        assert!(claims.lock().is_empty());
    }

    #[test]
    fn a_proposed_claim_does_not_replace_another_claim() {
        let claims = LeaseClaims::default();
        let claim = held(&claims, &fetch());
        let other = LeaseClaim::new(&fetch());
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
