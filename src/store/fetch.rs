//! Gets tokens from the store, or from the source for all processes of a fleet.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::claims::{Claim, Claims};
use super::erased::Erased;
use super::health::{Health, Operation, StoreError};
use super::lease::Lease;
use super::patience::Patience;
use super::{StoredValue, key, record};
use crate::credentials::request::{Cause, TokenRequest};
use crate::token::AccessToken;
use crate::util::clock::Now;
use crate::util::jitter;
use crate::util::liveness::Liveness;
use crate::util::race::run_until;

/// The first pause between two looks into the store while another process asks the source.
const MIN_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause. It also bounds how late a waiter notices the end of a suspend (C5).
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause of a renewal, for which no caller waits.
const MAX_PAUSE_OF_RENEWAL: Duration = Duration::from_secs(2);

/// How long other processes are told that a token request has brought nothing to share.
const MARK_TIME_TO_LIVE: Duration = Duration::from_secs(5);

/// State that a layer shares with the services that it creates.
pub(super) struct SharedStore {
    pub(super) store: Arc<dyn Erased>,
    pub(super) health: Health,
    /// The duration of a lease that is not extended.
    pub(super) lease: Duration,
    pub(super) claims: Claims,
    pub(super) patience: Patience,
}

impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenStoreLayer")
            .field("deadline", &self.health.deadline)
            .field("backoff", &self.health.backoff)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

/// The result of looking into the store.
enum Lookup {
    Found(AccessToken),
    Fetch(FetchPermit),
}

/// The permission to ask the source.
struct FetchPermit {
    /// `None` if the lease was not available: others may ask the source too.
    lease: Option<Lease>,
    /// The stored value that the new token replaces.
    existing: Existing,
}

/// A stored value that does not answer a token request.
enum Existing {
    Nothing,
    Record(StoredValue),
    Malformed(StoredValue),
}

/// Says whether other processes find the token of a token request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    /// This token, or one that another process has stored meanwhile.
    Shared,
    NotShared,
}

impl Existing {
    fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Nothing => None,
            Self::Record(stored) | Self::Malformed(stored) => Some(stored.value()),
        }
    }
}

/// Returns the stored token that answers `request`, or else the token that `ask` returns.
///
/// A failure of the store is never an error of the token request.
pub(super) async fn fetch<E>(
    shared: Arc<SharedStore>,
    request: TokenRequest,
    ask: impl Future<Output = Result<AccessToken, E>>,
) -> Result<AccessToken, E> {
    let key = key::of(request.credentials());
    if !shared.health.may_ask(&key) {
        tracing::debug!("the token store is left alone");
        return ask.await;
    }
    // The layer may be polled by another task than the fetch, so it shows its own signs of life.
    let liveness = Arc::new(Liveness::part_of(request.liveness()));
    liveness.during(fetch_shared((&shared, &key), &request, &liveness, ask)).await
}

async fn fetch_shared<E>(
    (shared, key): (&Arc<SharedStore>, &str),
    request: &TokenRequest,
    liveness: &Arc<Liveness>,
    ask: impl Future<Output = Result<AccessToken, E>>,
) -> Result<AccessToken, E> {
    let FetchPermit { lease, existing } = match look(shared, key, request, liveness).await {
        Ok(Lookup::Found(token)) => {
            tracing::debug!("a token was found in the store");
            return Ok(token);
        }
        Ok(Lookup::Fetch(permit)) => permit,
        Err(_) => return ask.await,
    };
    if let Existing::Malformed(_) = existing {
        tracing::warn!("what is in the store is no token record; it is to be replaced");
    }
    let token = match &lease {
        Some(lease) => lease.during(ask).await,
        None => ask.await,
    };
    let is_superseded =
        lease.as_ref().map_or_else(|| liveness.is_superseded(), Lease::is_superseded);
    if is_superseded {
        // The successor stores its token, or tells others that it has failed (C3).
        return token;
    }
    let stored = match &token {
        Ok(token) => shared.store_token(key, request, &existing, token).await,
        Err(_) => Ok(Sharing::NotShared),
    };
    let told = match stored {
        // Those who wait for the lease would take it one after the other otherwise.
        Ok(Sharing::NotShared) if lease.is_some() => shared.store_mark(key).await,
        other => other.map(drop),
    };
    // After a failure of the store, do not wait for it again: dropping the lease releases it too.
    if let (Some(lease), Ok(())) = (lease, told) {
        lease.release().await;
    }
    token
}

/// Waits until the store has a token, or this process may ask the source.
async fn look(
    shared: &Arc<SharedStore>,
    key: &str,
    request: &TokenRequest,
    liveness: &Arc<Liveness>,
) -> Result<Lookup, StoreError> {
    let claim = Claim::new(liveness);
    // A lease that is not released ends within this time, and the next owner of the lease has half
    // as long again. Only the monotonic clock counts, because the store's leases end during a
    // suspend, and a whole fleet that wakes up would otherwise stop waiting at once.
    let is_patient = shared.patience.is_left(key);
    let start = Instant::now();
    let give_up_at = if is_patient { start + shared.lease + shared.lease / 2 } else { start };
    let max_pause = match request.cause() {
        Cause::Renewal => MAX_PAUSE_OF_RENEWAL,
        _ => MAX_PAUSE,
    };
    let mut pause = MIN_PAUSE;
    let mut dead_claim = pin!(shared.claims.dead_claim(key));
    let mut lease = None;
    let mut has_waited = false;
    let mut looks_for_marks = true;
    loop {
        let mut existing = match shared.find(key, request).await? {
            Ok(token) => {
                if has_waited {
                    shared.patience.restore(key);
                }
                return Ok(Lookup::Found(token));
            }
            Err(existing) => existing,
        };
        if lease.is_none() {
            lease = Lease::take(shared, key, &claim).await?;
        }
        if lease.is_some() {
            shared.patience.restore(key);
            // The last owner may have stored a token before it released the lease.
            existing = match shared.find(key, request).await? {
                Ok(token) => return Ok(Lookup::Found(token)),
                Err(existing) => existing,
            };
        }
        if lease.is_some() {
            return Ok(Lookup::Fetch(FetchPermit { lease, existing }));
        }
        if Instant::now() >= give_up_at {
            shared.patience.exhaust(key);
            return Ok(Lookup::Fetch(FetchPermit { lease, existing }));
        }
        // Do not wait if another process has just failed: the back-off of this process decides.
        if looks_for_marks {
            match shared.has_nothing_to_share(key).await {
                Ok(true) => return Ok(Lookup::Fetch(FetchPermit { lease, existing })),
                Ok(false) => {}
                // The mark may be on another server than the token, so its failure does not end the
                // wait for the token. It costs one deadline.
                Err(_) => looks_for_marks = false,
            }
        }
        has_waited = true;
        let pause_end = Instant::now() + jitter::upper_half(pause);
        let pause_end = sleep_until(pause_end.min(give_up_at));
        if let Some(dead) = run_until(pause_end, dead_claim.as_mut()).await {
            dead_claim.set(shared.claims.dead_claim(key));
            lease = Lease::adopt(shared, key, &dead, liveness).await?;
        }
        pause = (pause * 2).min(max_pause);
    }
}

impl SharedStore {
    /// Returns the stored token that answers `request`, or else the value that is stored.
    async fn find(
        &self,
        key: &str,
        request: &TokenRequest,
    ) -> Result<Result<AccessToken, Existing>, StoreError> {
        let asked_at = Now::read();
        let Some(stored) = self.health.ask(key, Operation::Get, self.store.get(key)).await? else {
            return Ok(Err(Existing::Nothing));
        };
        Ok(match record::decode(&stored, asked_at) {
            Some(record) if record.answers(request, Now::read()) => Ok(record.token),
            Some(_) => Err(Existing::Record(stored)),
            None => Err(Existing::Malformed(stored)),
        })
    }

    /// Tells those who wait that the token request has brought nothing that they can use.
    ///
    /// The request has failed, or its token cannot be stored.
    async fn store_mark(&self, key: &str) -> Result<(), StoreError> {
        let mark = record::encode_mark(MARK_TIME_TO_LIVE, Now::read());
        let key = key::of_mark(key);
        let stored = self.store.set(&key, &mark, MARK_TIME_TO_LIVE);
        match self.health.ask(&key, Operation::Set, stored).await {
            Err(StoreError::ValueNotAccepted) => Ok(()),
            stored => stored,
        }
    }

    /// Returns whether another process has just told that it has nothing to share.
    async fn has_nothing_to_share(&self, key: &str) -> Result<bool, StoreError> {
        let key = key::of_mark(key);
        if !self.health.may_ask(&key) {
            return Ok(false);
        }
        let stored = self.health.ask(&key, Operation::Get, self.store.get(&key)).await?;
        Ok(stored.is_some_and(|stored| record::is_mark(&stored, MARK_TIME_TO_LIVE, Now::read())))
    }

    /// Stores a token, unless the stored value has changed since `existing` was read.
    async fn store_token(
        &self,
        key: &str,
        request: &TokenRequest,
        existing: &Existing,
        token: &AccessToken,
    ) -> Result<Sharing, StoreError> {
        let Some((value, time_to_live)) = record::encode(request, token, Now::read()) else {
            return Ok(Sharing::NotShared);
        };
        // The existing value may have ended in the meantime, so expect nothing as well.
        let ended = existing.value().map(|_| None);
        for expected in std::iter::once(existing.value()).chain(ended) {
            let replaced = self.store.replace(key, expected, &value, time_to_live);
            match self.health.ask(key, Operation::Replace, replaced).await {
                Ok(true) => return Ok(Sharing::Shared),
                Ok(false) => {}
                Err(StoreError::ValueNotAccepted) => return Ok(Sharing::NotShared),
                Err(StoreError::Unavailable) => return Err(StoreError::Unavailable),
            }
        }
        tracing::debug!("another process has stored a token meanwhile; it stays");
        Ok(Sharing::Shared)
    }
}
