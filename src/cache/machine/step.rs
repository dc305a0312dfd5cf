//! Decides what a caller does, and starts fetches.

use std::sync::Arc;

use tokio::time::Instant;

use super::super::claims::Claims;
use super::super::fetch::FetchHandle;
use super::super::issued::{IssueId, IssuedToken};
use super::{Events, Fetch, Machine, Retry, TokenState, Waiters};
use crate::credentials::request::Cause;
use crate::error::TokenError;
use crate::util::clock::Now;
use crate::util::liveness::{BEAT_INTERVAL, MAX_SILENT_LOOKS};

/// The requirements of one caller on its token.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requirements {
    /// The issue that was rejected for this request. Only a newer token satisfies it.
    pub(crate) newer_than: Option<IssueId>,
    /// The claims that the token must carry.
    pub(crate) claims: Claims,
    /// The origin that the request goes to, by a hash. A token that another origin rejected may be
    /// good enough there (C12).
    pub(crate) origin: Option<u64>,
}

/// Tells a caller what to do after a miss.
#[derive(Debug)]
pub(in crate::cache) enum Step {
    Use(Arc<IssuedToken>),
    /// Use this token, and spawn a fetch without waiting for it.
    UseAndFetch(Arc<IssuedToken>, FetchStart),
    /// Wait for the fetch that is running.
    Join(FetchHandle),
    /// Spawn a fetch and wait for it.
    Fetch(FetchStart),
    /// Fail, because a fetch is needed and the caller has no runtime for it.
    NoRuntime,
    /// Fail with the remembered error.
    Fail(TokenError),
    /// Fail with the remembered error if the credentials still have this version.
    FailFor(u64, TokenError),
    /// Continue without the claims, because the token endpoint has just refused them (R7).
    ClaimsRefused,
}

/// A fetch that the machine has recorded and that the slot must spawn after unlocking.
#[derive(Debug)]
pub(in crate::cache) struct FetchStart {
    pub(in crate::cache) handle: FetchHandle,
    pub(in crate::cache) spec: FetchSpec,
}

/// A token request, except for its credentials.
#[derive(Clone, Debug)]
pub(in crate::cache) struct FetchSpec {
    pub(in crate::cache) cause: Cause,
    /// The token to replace. A token store must not return it.
    pub(in crate::cache) previous: Option<Arc<IssuedToken>>,
    pub(in crate::cache) claims: Claims,
}

/// The result of [`Machine::tick`] for the published token.
#[derive(Debug)]
pub(in crate::cache) enum TickOutcome {
    Usable,
    /// The token can be used, and the slot must spawn a renewal.
    Renew(FetchStart),
    /// There is no current token.
    Expired,
}

impl Machine {
    /// Decides whether a caller uses a token, joins or starts a fetch, or fails.
    ///
    /// `new_handle` returns `None` if the caller has no runtime.
    pub(in crate::cache) fn next_step(
        &mut self,
        required: &Requirements,
        new_handle: impl FnOnce() -> Option<FetchHandle>,
        now: Now,
    ) -> (Step, Events) {
        self.expire_if_due(now);
        let mut events = Events::default();
        // Callers with short timeouts see no sign of life together, although none waits for long.
        if self.fetch.as_mut().is_some_and(|fetch| fetch.is_presumed_dead(now.mono)) {
            events = self.drop_dead_fetch();
        }
        (self.choose_step(required, new_handle, now), events)
    }

    fn choose_step(
        &mut self,
        required: &Requirements,
        new_handle: impl FnOnce() -> Option<FetchHandle>,
        now: Now,
    ) -> Step {
        if let TokenState::Current(current) = &self.token_state {
            if current.token.satisfies(required.newer_than, &required.claims) {
                return Step::Use(current.token.clone());
            }
        }
        if self.refused_claims.contains(&required.claims, now) {
            return Step::ClaimsRefused;
        }
        // The next fetch requests these claims. The caller waits for a running fetch first, because
        // there is only one fetch at a time (C2).
        if !self.current().is_some_and(|token| token.claims().covers(&required.claims)) {
            self.wanted_claims.merge(&required.claims);
        }
        let fallback = self.fallback(required, now);
        if let Some(fetch) = &mut self.fetch {
            // C12: a caller with a fallback does not wait if the last fetch failed.
            if let (Some(token), Some(_)) = (fallback, &self.failure) {
                return Step::Use(token);
            }
            fetch.waiters = Waiters::Some;
            return Step::Join(fetch.handle.clone());
        }
        let remembered = self.failure.as_ref().filter(|failure| !now.has_reached(failure.until));
        match (remembered, fallback) {
            (Some(_), Some(token)) => Step::Use(token),
            (Some(failure), None) => {
                let remaining = failure.until.mono.saturating_duration_since(now.mono);
                let error = failure.error.clone().with_retry_in(remaining);
                match failure.version {
                    Some(version) => Step::FailFor(version, error),
                    None => Step::Fail(error),
                }
            }
            (None, Some(token)) if self.failure.is_some() => match new_handle() {
                Some(handle) => {
                    Step::UseAndFetch(token, self.start_fetch(handle, Waiters::None, now))
                }
                None => Step::Use(token),
            },
            (None, _) => match new_handle() {
                Some(handle) => Step::Fetch(self.start_fetch(handle, Waiters::Some, now)),
                None => Step::NoRuntime,
            },
        }
    }

    /// Returns the rejected token for an origin that did not reject it (C12).
    ///
    /// Waiters use it when their fetch fails. A lost fetch is not a failure, so they wait for the
    /// next one.
    pub(in crate::cache) fn fallback(
        &self,
        required: &Requirements,
        now: Now,
    ) -> Option<Arc<IssuedToken>> {
        let TokenState::Rejected(rejected) = &self.token_state else {
            return None;
        };
        let token = &rejected.token;
        let satisfies = token.satisfies(required.newer_than, &required.claims);
        let may_be_sent = !token.is_expired(now) && rejected.by.allows(required.origin);
        (satisfies && may_be_sent).then(|| token.clone())
    }

    /// Checks the published token for a hit that has passed [`next_tick`](Self::next_tick).
    ///
    /// Starts a renewal if one is due, and replaces a fetch that shows no sign of life (C3).
    pub(in crate::cache) fn tick(
        &mut self,
        new_handle: impl FnOnce() -> Option<FetchHandle>,
        now: Now,
    ) -> (TickOutcome, Events) {
        let mut events = Events { breaker: self.breaker.tick(now.mono), ..Events::default() };
        self.expire_if_due(now);
        let TokenState::Current(current) = &self.token_state else {
            return (TickOutcome::Expired, events);
        };
        let is_due = now.mono >= current.renew_at;
        if let Some(fetch) = &mut self.fetch {
            if !fetch.is_presumed_dead(now.mono) {
                return (TickOutcome::Usable, events);
            }
            events = Events { breaker: events.breaker, ..self.drop_dead_fetch() };
        }
        if !is_due {
            return (TickOutcome::Usable, events);
        }
        // A hit may run without a runtime. The next hit or caller with a runtime starts the
        // renewal.
        let outcome = match new_handle() {
            Some(handle) => TickOutcome::Renew(self.start_fetch(handle, Waiters::None, now)),
            None => TickOutcome::Usable,
        };
        (outcome, events)
    }

    /// Records a new fetch. The slot spawns its task after unlocking.
    fn start_fetch(&mut self, handle: FetchHandle, waiters: Waiters, now: Now) -> FetchStart {
        let began = self.next_sequence();
        let fetch = Fetch {
            beats_seen: handle.liveness().beats(),
            looked_at: now.mono,
            silent_looks: 0,
            handle: handle.clone(),
            cause: self.cause(),
            claims: self.claims_to_request(now),
            dropped_claims: Vec::new(),
            began,
            waiters,
            retry: Retry::Available,
        };
        let spec = self.fetch_spec(&fetch);
        self.fetch = Some(Box::new(fetch));
        FetchStart { handle, spec }
    }

    /// Returns the claims for the next token request (R7).
    ///
    /// The claims of the last token are included. Otherwise two APIs that require different claims
    /// would replace each other's tokens, and a renewal would lose them. Claims that were refused
    /// together are requested one by one.
    pub(super) fn claims_to_request(&self, now: Now) -> Claims {
        let carried = self.last_token().map(|token| token.claims().clone()).unwrap_or_default();
        let mut added = self.wanted_claims.without(&carried);
        if !added.is_empty() && self.refused_claims.cover(&added, now) {
            added = added.newest();
        }
        let mut claims = carried;
        claims.merge(&added);
        claims
    }
}

impl Fetch {
    /// Looks for a beat, at most once per beat interval.
    ///
    /// Returns `true` if four looks in a row found no beat.
    ///
    /// It counts looks instead of time: if one thread stalls the hits and the fetch together, the
    /// hits look no more often than the fetch beats.
    fn is_presumed_dead(&mut self, now: Instant) -> bool {
        if now < self.looked_at + BEAT_INTERVAL {
            return false;
        }
        let beats = self.handle.liveness().beats();
        self.silent_looks = if beats == self.beats_seen { self.silent_looks + 1 } else { 0 };
        self.beats_seen = beats;
        self.looked_at = now;
        self.silent_looks >= MAX_SILENT_LOOKS
    }
}
