//! The right to ask in the place of all others.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::exchange::Shared;
use super::health::StoreUnavailable;

/// A lease in the store. Given back when it is dropped, or by the store itself when the process ends.
pub(super) struct Lease {
    shared: Arc<Shared>,
    key: String,
    owner: String,
    is_held: bool,
}

/// Told apart from all others of the fleet.
pub(super) fn owner() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{:x}-{count:x}-{:032x}", std::process::id(), fastrand::u128(..))
}

impl Lease {
    /// The lease on `key`, unless somebody else has it.
    pub(super) async fn take(
        shared: &Arc<Shared>,
        key: &str,
        owner: &str,
    ) -> Result<Option<Self>, StoreUnavailable> {
        // Dropped half-way, the store may have been told all the same.
        let mut lease = Self {
            shared: shared.clone(),
            key: key.to_owned(),
            owner: owner.to_owned(),
            is_held: true,
        };
        lease.is_held = lease.extend().await?;
        Ok(lease.is_held.then_some(lease))
    }

    async fn extend(&self) -> Result<bool, StoreUnavailable> {
        let Shared { store, health, lease, .. } = &*self.shared;
        health.ask("lock", store.lock(&self.key, &self.owner, *lease)).await
    }

    /// What `asked` comes to; until then the lease does not end.
    pub(super) async fn during<T>(&self, asked: impl Future<Output = T>) -> T {
        let mut asked = pin!(asked);
        let mut heartbeat = pin!(async {
            loop {
                sleep(self.shared.lease / 3).await;
                match self.extend().await {
                    Ok(true) => {}
                    // Another process may ask too: it is one token request more.
                    Ok(false) => tracing::debug!("the lease on a token request was lost"),
                    Err(StoreUnavailable) => {}
                }
            }
        });
        poll_fn(|cx| match asked.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(answer),
            Poll::Pending => heartbeat.as_mut().poll(cx).map(|never: Infallible| match never {}),
        })
        .await
    }

    /// Gives it back, so that those who wait need not wait for its end.
    pub(super) async fn release(mut self) {
        let Shared { store, health, .. } = &*self.shared;
        if health.ask("unlock", store.unlock(&self.key, &self.owner)).await.is_ok() {
            self.is_held = false;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_held {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let (shared, key, owner) =
            (self.shared.clone(), std::mem::take(&mut self.key), std::mem::take(&mut self.owner));
        runtime.spawn(async move {
            let _ = timeout(shared.health.deadline, shared.store.unlock(&key, &owner)).await;
        });
    }
}
