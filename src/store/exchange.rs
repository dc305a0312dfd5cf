//! From the store if it has one, else from the source, by one process for all.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::erased::Erased;
use super::health::{Health, StoreUnavailable};
use super::lease::{self, Lease};
use super::{Stored, key, record};
use crate::clock::Now;
use crate::request::{Cause, TokenRequest};
use crate::token::AccessToken;

/// Between two looks at what another process does: the first wait, the longest, and the longest when nobody waits
/// for the token.
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE_OF_RENEWAL: Duration = Duration::from_secs(2);

/// How long the others are told of a token request that failed.
const FAILURE_TOLD: Duration = Duration::from_secs(5);

/// What a layer and all that it made have in common.
pub(super) struct Shared {
    pub(super) store: Arc<dyn Erased>,
    pub(super) health: Health,
    /// How long a lease lasts that nobody makes last longer.
    pub(super) lease: Duration,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreLayer")
            .field("deadline", &self.health.deadline)
            .field("backoff", &self.health.backoff)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

/// What a look into the store comes to.
enum Look {
    Found(AccessToken),
    Ask(Turn),
}

/// The turn to ask the source.
struct Turn {
    /// None when this process has waited for another for long enough, or for nothing.
    lease: Option<Lease>,
    /// What is to be replaced.
    seen: Seen,
}

/// What there is in the store in the place of an answer.
enum Seen {
    Nothing,
    /// A record that does not answer.
    Record(Stored),
    Rubbish(Stored),
}

impl Seen {
    fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Nothing => None,
            Self::Record(stored) | Self::Rubbish(stored) => Some(stored.value()),
        }
    }
}

/// The token in the store that answers `request`, else the one that `ask` brings. The store is never the
/// reason for an error.
pub(super) async fn exchange<E>(
    shared: Arc<Shared>,
    request: TokenRequest,
    ask: impl Future<Output = Result<AccessToken, E>>,
) -> Result<AccessToken, E> {
    if !shared.health.may_ask() {
        tracing::debug!("the token store is left alone");
        return ask.await;
    }
    let key = key::of(request.credentials());
    let Turn { lease, seen } = match look(&shared, &key, &request).await {
        Ok(Look::Found(token)) => {
            tracing::debug!("a token was found in the store");
            return Ok(token);
        }
        Ok(Look::Ask(turn)) => turn,
        Err(StoreUnavailable) => return ask.await,
    };
    if let Seen::Rubbish(_) = seen {
        tracing::warn!("what is in the store is no token record; it is to be replaced");
    }
    let token = match &lease {
        Some(lease) => lease.during(ask).await,
        None => ask.await,
    };
    let kept = match &token {
        Ok(token) => shared.keep(&key, &request, &seen, token).await,
        Err(_) if lease.is_some() => shared.tell_of_failure(&key).await,
        Err(_) => Ok(()),
    };
    // A store in trouble is not waited for once more: the lease is given back as it is dropped.
    if let (Some(lease), Ok(())) = (lease, kept) {
        lease.release().await;
    }
    token
}

/// Looks until there is a token, or it is this process's turn to ask for one.
async fn look(
    shared: &Arc<Shared>,
    key: &str,
    request: &TokenRequest,
) -> Result<Look, StoreUnavailable> {
    let owner = lease::owner();
    // A lease that its holder does not give back ends within this time, and whoever takes the next one has
    // half as long again.
    let patience = Instant::now() + shared.lease + shared.lease / 2;
    let longest = match request.cause() {
        Cause::Renewal => LONGEST_PAUSE_OF_RENEWAL,
        _ => LONGEST_PAUSE,
    };
    let mut pause = PAUSE;
    loop {
        let mut seen = match shared.find(key, request).await? {
            Ok(token) => return Ok(Look::Found(token)),
            Err(seen) => seen,
        };
        let lease = Lease::take(shared, key, &owner).await?;
        if lease.is_some() {
            // Its last holder may have stored a token since.
            seen = match shared.find(key, request).await? {
                Ok(token) => return Ok(Look::Found(token)),
                Err(seen) => seen,
            };
        }
        // What another process has just failed at is not waited for: this one's own back-off decides.
        if lease.is_some() || Instant::now() >= patience || shared.has_failed(key).await? {
            return Ok(Look::Ask(Turn { lease, seen }));
        }
        let pause_until = Instant::now() + pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        sleep_until(pause_until.min(patience)).await;
        pause = (pause * 2).min(longest);
    }
}

impl Shared {
    /// The token in the store that answers `request`, else what is in its place.
    async fn find(
        &self,
        key: &str,
        request: &TokenRequest,
    ) -> Result<Result<AccessToken, Seen>, StoreUnavailable> {
        let asked_at = Now::read();
        let Some(stored) = self.health.ask("get", self.store.get(key)).await? else {
            return Ok(Err(Seen::Nothing));
        };
        Ok(match record::decode(&stored, asked_at) {
            Some(record) if record.answers(request, Now::read()) => Ok(record.token),
            Some(_) => Err(Seen::Record(stored)),
            None => Err(Seen::Rubbish(stored)),
        })
    }

    /// Tells those who wait that there is nothing to wait for.
    async fn tell_of_failure(&self, key: &str) -> Result<(), StoreUnavailable> {
        let mark = record::encode_failure(FAILURE_TOLD, Now::read());
        let key = key::of_failure(key);
        let told = self.store.set(&key, &mark, FAILURE_TOLD);
        // Whoever does not hear of it waits.
        self.health.ask("set", told).await
    }

    async fn has_failed(&self, key: &str) -> Result<bool, StoreUnavailable> {
        let stored = self.health.ask("get", self.store.get(&key::of_failure(key))).await?;
        Ok(stored.is_some_and(|stored| record::is_failure(&stored, Now::read())))
    }

    /// Puts a token into the store, unless something else came there since.
    async fn keep(
        &self,
        key: &str,
        request: &TokenRequest,
        seen: &Seen,
        token: &AccessToken,
    ) -> Result<(), StoreUnavailable> {
        let Some((value, time_to_live)) = record::encode(request, token, Now::read()) else {
            return Ok(());
        };
        // What was there may have come to its end since: then nothing is.
        let gone = seen.value().map(|_| None);
        for expected in std::iter::once(seen.value()).chain(gone) {
            let replaced = self.store.replace(key, expected, &value, time_to_live);
            if self.health.ask("replace", replaced).await? {
                return Ok(());
            }
        }
        tracing::debug!("another process has stored a token meanwhile; it stays");
        Ok(())
    }
}
