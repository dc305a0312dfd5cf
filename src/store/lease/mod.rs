//! Manages leases: the exclusive right among all processes to fetch a token.

mod claims;
mod stuck;

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

pub(super) use self::claims::{LeaseClaim, LeaseClaims};
pub(super) use self::stuck::StuckLeases;
use super::client::StoreClient;
use super::health::{Operation, StoreError};
use super::key::StoreKey;
use crate::util::liveness::Liveness;
use crate::util::race::run_beside;

/// Holds a lease in the store, and releases it on drop.
///
/// The lease ends by itself if the process dies.
pub(super) struct Lease {
    client: Arc<StoreClient>,
    key: StoreKey,
    claim: Arc<LeaseClaim>,
    is_held: bool,
}

impl Lease {
    /// Acquires the lease on `key`. Returns `None` if another owner holds it.
    pub(super) async fn acquire(
        client: &Arc<StoreClient>,
        key: &StoreKey,
        claim: &Arc<LeaseClaim>,
    ) -> Result<Option<Self>, StoreError> {
        // The claim is recorded before the operation, because the task may die before the store has
        // answered.
        client.claims.propose(key, claim);
        let lease = Self::lock(client, key, claim.clone()).await?;
        if lease.is_some() {
            client.claims.confirm(key, claim);
        }
        Ok(lease)
    }

    /// Adopts the lease that a dead fetch of this process holds (C3).
    ///
    /// Returns `None` if that fetch no longer holds a lease.
    pub(super) async fn adopt(
        client: &Arc<StoreClient>,
        key: &StoreKey,
        dead: &Arc<LeaseClaim>,
        liveness: &Arc<Liveness>,
    ) -> Result<Option<Self>, StoreError> {
        let Some(claim) = client.claims.adopt(key, dead, liveness) else {
            return Ok(None);
        };
        let label = key.label_field();
        tracing::debug!(label, "took over the lease of a fetch that is no longer polled");
        Self::lock(client, key, claim).await
    }

    /// Locks the lease in the store with the owner of `claim`.
    async fn lock(
        client: &Arc<StoreClient>,
        key: &StoreKey,
        claim: Arc<LeaseClaim>,
    ) -> Result<Option<Self>, StoreError> {
        // The lease counts as held already, so that it is released if this future is dropped during
        // the operation.
        let mut lease = Self { client: client.clone(), key: key.clone(), claim, is_held: true };
        lease.is_held = lease.extend().await?;
        Ok(lease.is_held.then_some(lease))
    }

    /// Extends the lease. Returns whether this process holds it.
    async fn extend(&self) -> Result<bool, StoreError> {
        let StoreClient { store, health, lease, .. } = &*self.client;
        let locked = store.lock(&self.key, self.claim.owner(), *lease);
        health.run(&self.key, Operation::Lock, locked).await
    }

    /// Returns whether another token request of this process has taken over the lease.
    pub(super) fn is_superseded(&self) -> bool {
        self.claim.is_superseded()
    }

    /// Runs `work` to completion, and extends the lease until then.
    pub(super) async fn hold_during<T>(&self, work: impl Future<Output = T>) -> T {
        let heartbeat = async {
            loop {
                sleep(self.client.lease / 3).await;
                if self.is_superseded() {
                    continue;
                }
                match self.extend().await {
                    Ok(true) => {}
                    // Another process may fetch a token too, which costs one token request.
                    Ok(false) => {
                        let label = self.key.label_field();
                        tracing::debug!(label, "lost the lease on a token request");
                    }
                    Err(_) => {}
                }
            }
        };
        run_beside(heartbeat, work).await
    }

    /// Releases the lease, so that waiting processes can acquire it at once.
    pub(super) async fn release(mut self) {
        if !self.client.claims.withdraw(&self.key, &self.claim) {
            return;
        }
        let StoreClient { store, health, .. } = &*self.client;
        let released = store.unlock(&self.key, self.claim.owner());
        if health.run(&self.key, Operation::Unlock, released).await.is_ok() {
            self.is_held = false;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let may_release = self.client.claims.withdraw(&self.key, &self.claim);
        if !self.is_held || !may_release {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let (client, claim) = (self.client.clone(), self.claim.clone());
        let key = std::mem::take(&mut self.key);
        runtime.spawn(async move {
            let released = client.store.unlock(&key, claim.owner());
            let _ = timeout(client.health.deadline, released).await;
        });
    }
}
