//! Leases: the exclusive right in a fleet to ask the token endpoint.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::claims::Claim;
use super::fetch::SharedStore;
use super::health::{Operation, StoreError};
use crate::util::liveness::Liveness;
use crate::util::race;

/// A lease in the store. It is released on drop, and ends by itself when the process ends.
pub(super) struct Lease {
    shared: Arc<SharedStore>,
    key: String,
    claim: Arc<Claim>,
    is_held: bool,
}

impl Lease {
    /// Takes the lease on `key`. Returns `None` if another owner holds it.
    pub(super) async fn take(
        shared: &Arc<SharedStore>,
        key: &str,
        claim: &Arc<Claim>,
    ) -> Result<Option<Self>, StoreError> {
        // Recorded before the store is asked, because the task may die before it hears the answer.
        shared.claims.propose(key, claim);
        let lease = Self::claimed(shared, key, claim.clone()).await?;
        if lease.is_some() {
            shared.claims.confirm(key, claim);
        }
        Ok(lease)
    }

    /// Adopts the lease that a dead fetch of this process holds (C3). Returns `None` if it holds
    /// none any more.
    pub(super) async fn adopt(
        shared: &Arc<SharedStore>,
        key: &str,
        dead: &Arc<Claim>,
        liveness: &Arc<Liveness>,
    ) -> Result<Option<Self>, StoreError> {
        let Some(claim) = shared.claims.adopt(key, dead, liveness) else {
            return Ok(None);
        };
        tracing::debug!("a lease was taken over from a fetch that shows no sign of life");
        Self::claimed(shared, key, claim).await
    }

    /// Asks the store for the lease.
    async fn claimed(
        shared: &Arc<SharedStore>,
        key: &str,
        claim: Arc<Claim>,
    ) -> Result<Option<Self>, StoreError> {
        // Created as held: if this future is dropped, the store may have been asked already.
        let mut lease = Self { shared: shared.clone(), key: key.to_owned(), claim, is_held: true };
        lease.is_held = lease.extend().await?;
        Ok(lease.is_held.then_some(lease))
    }

    async fn extend(&self) -> Result<bool, StoreError> {
        let SharedStore { store, health, lease, .. } = &*self.shared;
        let locked = store.lock(&self.key, self.claim.owner(), *lease);
        health.ask(&self.key, Operation::Lock, locked).await
    }

    /// Returns whether another token request of this process has taken over.
    pub(super) fn is_superseded(&self) -> bool {
        self.claim.is_superseded()
    }

    /// Polls `work` to its end, and extends the lease until then.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let heartbeat = async {
            loop {
                sleep(self.shared.lease / 3).await;
                if self.is_superseded() {
                    continue;
                }
                match self.extend().await {
                    Ok(true) => {}
                    // Another process may ask too, which costs one token request.
                    Ok(false) => tracing::debug!("the lease on a token request was lost"),
                    Err(_) => {}
                }
            }
        };
        race::run_beside(heartbeat, work).await
    }

    /// Releases the lease, so that waiters need not wait for its end.
    pub(super) async fn release(mut self) {
        if !self.shared.claims.withdraw(&self.key, &self.claim) {
            return;
        }
        let SharedStore { store, health, .. } = &*self.shared;
        let released = store.unlock(&self.key, self.claim.owner());
        if health.ask(&self.key, Operation::Unlock, released).await.is_ok() {
            self.is_held = false;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let may_release = self.shared.claims.withdraw(&self.key, &self.claim);
        if !self.is_held || !may_release {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let (shared, claim) = (self.shared.clone(), self.claim.clone());
        let key = std::mem::take(&mut self.key);
        runtime.spawn(async move {
            let released = shared.store.unlock(&key, claim.owner());
            let _ = timeout(shared.health.deadline, released).await;
        });
    }
}
