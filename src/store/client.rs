//! Reads and writes tokens in the store, within its deadlines and back-offs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::dyn_store::DynTokenStore;
use super::health::{Health, Operation, StoreError};
use super::key::StoreKey;
use super::lease::{LeaseClaims, StuckLeases};
use super::{StoredValue, key, record};
use crate::credentials::request::TokenRequest;
use crate::token::AccessToken;
use crate::util::backoff::Backoff;
use crate::util::clock::Now;

/// The time to live of a mark.
///
/// A mark says that a token request has produced no token to share.
const MARK_TIME_TO_LIVE: Duration = Duration::from_secs(5);

/// Holds the store with its health and the leases of this process.
///
/// A layer shares one client with all services that it creates.
pub(super) struct StoreClient {
    pub(super) store: Arc<dyn DynTokenStore>,
    pub(super) health: Health,
    /// The duration of a lease that is not extended.
    pub(super) lease: Duration,
    pub(super) claims: LeaseClaims,
    pub(super) stuck_leases: StuckLeases,
}

/// The result of a lookup.
pub(super) enum Lookup {
    Found(AccessToken),
    Missing(Existing),
}

/// A stored value that does not answer a token request.
pub(super) enum Existing {
    Nothing,
    Record(StoredValue),
    Malformed(StoredValue),
}

/// Says whether other processes find a token in the store after a token request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// They find this token, or one that another process has stored in the meantime.
    Shared,
    NotShared,
}

impl StoreClient {
    pub(super) fn new(store: Arc<dyn DynTokenStore>) -> Self {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        Self {
            store,
            health: Health::new(Duration::from_millis(250), backoff),
            lease: Duration::from_secs(10),
            claims: LeaseClaims::default(),
            stuck_leases: StuckLeases::default(),
        }
    }

    /// Returns a client with the same store and settings and no shared state.
    pub(super) fn with_new_state(&self) -> Self {
        self.with_health(self.health.deadline, self.health.backoff)
    }

    /// Returns a client with other settings for deadlines, which shares no state with this one.
    pub(super) fn with_health(&self, deadline: Duration, backoff: Backoff) -> Self {
        let health = Health::new(deadline, backoff);
        Self { health, lease: self.lease, ..Self::new(self.store.clone()) }
    }

    /// Looks for a stored token that answers `request`.
    pub(super) async fn find(
        &self,
        key: &StoreKey,
        request: &TokenRequest,
    ) -> Result<Lookup, StoreError> {
        let asked_at = Now::read();
        let Some(stored) = self.health.run(key, Operation::Get, self.store.get(key)).await? else {
            return Ok(Lookup::Missing(Existing::Nothing));
        };
        Ok(match record::decode(&stored, asked_at) {
            Some(record) if record.answers(request, Now::read()) => Lookup::Found(record.token),
            Some(_) => Lookup::Missing(Existing::Record(stored)),
            None => Lookup::Missing(Existing::Malformed(stored)),
        })
    }

    /// Stores a token, unless the stored value has changed since `existing` was read.
    pub(super) async fn store_token(
        &self,
        key: &StoreKey,
        request: &TokenRequest,
        existing: &Existing,
        token: &AccessToken,
    ) -> Result<Sharing, StoreError> {
        let Some((value, time_to_live)) = record::encode(request, token, Now::read()) else {
            return Ok(Sharing::NotShared);
        };
        // The existing value may have expired since it was read, so the second attempt expects
        // none.
        let expired = existing.value().map(|_| None);
        for expected in std::iter::once(existing.value()).chain(expired) {
            let replaced = self.store.replace(key, expected, &value, time_to_live);
            match self.health.run(key, Operation::Replace, replaced).await {
                Ok(true) => return Ok(Sharing::Shared),
                Ok(false) => {}
                Err(StoreError::ValueNotAccepted) => return Ok(Sharing::NotShared),
                Err(StoreError::Unavailable) => return Err(StoreError::Unavailable),
            }
        }
        let label = key.label_field();
        tracing::debug!(label, "another process has stored a token; the store keeps it");
        Ok(Sharing::Shared)
    }

    /// Stores a mark that tells waiting processes not to expect a token from this request.
    ///
    /// The request has failed, or its token cannot be stored.
    pub(super) async fn store_mark(&self, key: &StoreKey) -> Result<(), StoreError> {
        let mark = record::encode_mark(MARK_TIME_TO_LIVE, Now::read());
        let key = key::mark_key(key);
        let stored = self.store.set(&key, &mark, MARK_TIME_TO_LIVE);
        match self.health.run(&key, Operation::Set, stored).await {
            Err(StoreError::ValueNotAccepted) => Ok(()),
            stored => stored,
        }
    }

    /// Returns whether another process has just stored a mark.
    pub(super) async fn has_mark(&self, key: &StoreKey) -> Result<bool, StoreError> {
        let key = key::mark_key(key);
        if !self.health.may_use(&key) {
            return Ok(false);
        }
        let stored = self.health.run(&key, Operation::Get, self.store.get(&key)).await?;
        Ok(stored.is_some_and(|stored| record::is_mark(&stored, MARK_TIME_TO_LIVE, Now::read())))
    }
}

impl Existing {
    fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Nothing => None,
            Self::Record(stored) | Self::Malformed(stored) => Some(stored.value()),
        }
    }
}

impl fmt::Debug for StoreClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenStoreLayer")
            .field("deadline", &self.health.deadline)
            .field("backoff", &self.health.backoff)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}
