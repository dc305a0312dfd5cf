//! Gets a token from the store, or from the source on behalf of all processes.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::client::{Existing, Lookup, Sharing, StoreClient};
use super::health::StoreError;
use super::key::{self, StoreKey};
use super::lease::{Lease, LeaseClaim};
use crate::credentials::request::{Cause, TokenRequest};
use crate::token::AccessToken;
use crate::util::jitter;
use crate::util::liveness::Liveness;
use crate::util::race::run_until;

/// The first pause between two lookups while another process fetches a token.
const MIN_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause. It also bounds how late a waiter notices the end of a suspend (C5).
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause of a renewal, for which no caller waits.
const MAX_PAUSE_OF_RENEWAL: Duration = Duration::from_secs(2);

/// The outcome of waiting for the store.
enum Outcome {
    Found(AccessToken),
    Fetch(FetchPermit),
}

/// Permits to fetch a token from the source.
struct FetchPermit {
    /// `None` if the lease was not available.
    ///
    /// Other processes may then fetch a token too.
    lease: Option<Lease>,
    /// The stored value that the new token replaces.
    existing: Existing,
}

/// Returns the stored token that answers `request`, or else the token that `source` returns.
///
/// A failure of the store is never an error of the token request.
pub(super) async fn fetch<E>(
    client: Arc<StoreClient>,
    request: TokenRequest,
    source: impl Future<Output = Result<AccessToken, E>>,
) -> Result<AccessToken, E> {
    let key = key::token_key(request.credentials());
    if !client.health.may_use(&key) {
        tracing::debug!(
            label = key.label_field(),
            "the token store is not used during its back-off"
        );
        return source.await;
    }
    // A task other than that of the fetch may poll this service, so it reports its own liveness.
    let liveness = Arc::new(Liveness::part_of(request.liveness()));
    let target = Target { client: &client, key: &key, request: &request, liveness: &liveness };
    liveness.during(target.fetch(source)).await
}

/// Holds the token request and the key of its token in the store.
struct Target<'a> {
    client: &'a Arc<StoreClient>,
    key: &'a StoreKey,
    request: &'a TokenRequest,
    liveness: &'a Arc<Liveness>,
}

impl Target<'_> {
    async fn fetch<E>(
        &self,
        source: impl Future<Output = Result<AccessToken, E>>,
    ) -> Result<AccessToken, E> {
        let Self { client, key, request, .. } = *self;
        let FetchPermit { lease, existing } = match self.wait().await {
            Ok(Outcome::Found(token)) => {
                tracing::debug!(label = key.label_field(), "found a token in the store");
                return Ok(token);
            }
            Ok(Outcome::Fetch(permit)) => permit,
            Err(_) => return source.await,
        };
        if let Existing::Malformed(_) = existing {
            tracing::warn!(
                label = key.label_field(),
                "the stored value is not a token record; the next token replaces it"
            );
        }
        let token = match &lease {
            Some(lease) => lease.hold_during(source).await,
            None => source.await,
        };
        let is_superseded =
            lease.as_ref().map_or_else(|| self.liveness.is_superseded(), Lease::is_superseded);
        if is_superseded {
            // The successor stores its token or a mark (C3).
            return token;
        }
        let sharing = match &token {
            Ok(token) => client.store_token(key, request, &existing, token).await,
            Err(_) => Ok(Sharing::NotShared),
        };
        let stored = match sharing {
            // Without a mark, the waiting processes would acquire the lease one after the other.
            Ok(Sharing::NotShared) if lease.is_some() => client.store_mark(key).await,
            other => other.map(drop),
        };
        // After a failure, do not wait for another operation: dropping the lease releases it too.
        if let (Some(lease), Ok(())) = (lease, stored) {
            lease.release().await;
        }
        token
    }

    /// Waits until the store has a token, or this process may fetch one.
    async fn wait(&self) -> Result<Outcome, StoreError> {
        let Self { client, key, request, liveness } = *self;
        let claim = LeaseClaim::new(liveness);
        // A lease that is not released ends within `lease`, and the next owner gets half of that
        // time. Only the monotonic clock counts: the leases in the store end during a suspend, and
        // otherwise all processes that wake up would stop waiting at the same time.
        let start = Instant::now();
        let give_up_at = if client.stuck_leases.contains(key) {
            start
        } else {
            start + client.lease + client.lease / 2
        };
        let max_pause = match request.cause() {
            Cause::Renewal => MAX_PAUSE_OF_RENEWAL,
            _ => MAX_PAUSE,
        };
        let mut pause = MIN_PAUSE;
        let mut dead_claim = pin!(client.claims.dead_claim(key));
        let mut lease = None;
        let mut has_waited = false;
        let mut checks_mark = true;
        loop {
            let mut existing = match client.find(key, request).await? {
                Lookup::Found(token) => {
                    if has_waited {
                        client.stuck_leases.remove(key);
                    }
                    return Ok(Outcome::Found(token));
                }
                Lookup::Missing(existing) => existing,
            };
            if lease.is_none() {
                lease = Lease::acquire(client, key, &claim).await?;
            }
            if lease.is_some() {
                client.stuck_leases.remove(key);
                // The last owner may have stored a token before it released the lease.
                existing = match client.find(key, request).await? {
                    Lookup::Found(token) => return Ok(Outcome::Found(token)),
                    Lookup::Missing(existing) => existing,
                };
            }
            if lease.is_some() {
                return Ok(Outcome::Fetch(FetchPermit { lease, existing }));
            }
            if Instant::now() >= give_up_at {
                client.stuck_leases.insert(key);
                return Ok(Outcome::Fetch(FetchPermit { lease, existing }));
            }
            // If another process has just failed, do not wait: the back-off of this process
            // decides.
            if checks_mark {
                match client.has_mark(key).await {
                    Ok(true) => return Ok(Outcome::Fetch(FetchPermit { lease, existing })),
                    Ok(false) => {}
                    // The mark may be on another server than the token, so a failure to read it
                    // does not end the wait for the token. It costs one deadline.
                    Err(_) => checks_mark = false,
                }
            }
            has_waited = true;
            let pause_end = Instant::now() + jitter::upper_half(pause);
            let pause_end = sleep_until(pause_end.min(give_up_at));
            if let Some(dead) = run_until(pause_end, dead_claim.as_mut()).await {
                dead_claim.set(client.claims.dead_claim(key));
                lease = Lease::adopt(client, key, &dead, liveness).await?;
            }
            pause = (pause * 2).min(max_pause);
        }
    }
}
