//! Holds the published token of one set of credentials, and its machine.
//!
//! Hits read atomics. Every change goes through [`Slot::update`].

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::breaker::Target;
use super::fetcher::Fetcher;
use super::issued::{IssueId, IssuedToken, PublishedToken, TokenCheck};
use super::machine::{Events, Machine, Rejection, RejectionOutcome, Requirements, Suspicions};
use super::status::SlotStatus;
use super::warnings::Warnings;
use crate::credentials::Credentials;
use crate::error::{TokenError, TokenErrorKind};
use crate::util::clock::Now;
use crate::util::sync::LockExt;

/// Leaves each slot room for the sequence numbers of its fetches and rejections. Those of a slot
/// that is created later are higher, so a request can compare them across an eviction.
const SEQUENCES_PER_SLOT: u64 = 1 << 32;

static SLOTS: AtomicU64 = AtomicU64::new(0);

/// The token and the machine of one set of credentials.
// The fields that a hit reads stand first, so that a hit touches few cache lines.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Slot {
    /// The current token. Hits use no other token.
    published: ArcSwapOption<IssuedToken>,
    /// The time of the last lookup, in milliseconds on the clock of the owner.
    pub(super) last_used: AtomicU64,
    /// Separate for each slot, so that handles of different slots share no reference count.
    fetcher: Arc<Fetcher>,
    credentials: Credentials,
    /// The issue of the published token, or 0. A service that keeps a token compares it with its
    /// own.
    published_issue: AtomicU64,
    /// Locked for one transition at a time.
    ///
    /// The lock is never held across an await, or while a caller's code runs.
    machine: Mutex<Machine>,
    /// Wakes the keep-warm task.
    pub(super) changed: Notify,
    pub(super) is_kept_warm: AtomicBool,
    /// The sweeper looks at the slot from time to time.
    pub(super) is_swept: AtomicBool,
    pub(super) warnings: Warnings,
    /// The number of [`SlotHandle`]s. A slot is evicted only while there are none.
    pub(super) holders: AtomicUsize,
    /// The [`acceptance_hint`](super::breaker::Breaker::acceptance_hint) of the breaker, which is 0
    /// while the breaker is reset.
    acceptance_hint: AtomicU32,
}

/// The result of a lookup.
pub(super) enum Lookup {
    Hit(PublishedToken),
    /// The token can be used, and the caller must call [`Slot::tick`] after that.
    HitAndTick(PublishedToken),
    Miss,
}

impl Slot {
    pub(super) fn new(credentials: Credentials, fetcher: Arc<Fetcher>) -> Self {
        let last_sequence = SLOTS.fetch_add(SEQUENCES_PER_SLOT, Ordering::Relaxed);
        Self {
            published: ArcSwapOption::empty(),
            last_used: AtomicU64::new(0),
            fetcher,
            credentials,
            published_issue: AtomicU64::new(0),
            machine: Mutex::new(Machine::starting_after(last_sequence)),
            changed: Notify::new(),
            is_kept_warm: AtomicBool::new(false),
            is_swept: AtomicBool::new(false),
            warnings: Warnings::default(),
            holders: AtomicUsize::new(0),
            acceptance_hint: AtomicU32::new(0),
        }
    }

    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub(super) fn fetcher(&self) -> &Arc<Fetcher> {
        &self.fetcher
    }

    /// Creates an error that names the token endpoint.
    pub(super) fn error(&self, kind: TokenErrorKind) -> TokenError {
        TokenError::new(kind, "")
            .at(self.credentials.server())
            .with_label(self.credentials.label_if_set())
    }

    /// Looks up the token: one atomic load and one comparison (C1).
    #[inline]
    pub(super) fn lookup(&self, now: Instant) -> Lookup {
        let Some(published) = PublishedToken::new(self.published.load()) else {
            return Lookup::Miss;
        };
        if published.token().is_fresh(now) {
            return Lookup::Hit(published);
        }
        match published.token().check(now) {
            TokenCheck::Usable => Lookup::Hit(published),
            TokenCheck::TickDue => Lookup::HitAndTick(published),
            TokenCheck::Expired => Lookup::Miss,
        }
    }

    /// Returns the issue of the published token, or 0.
    ///
    /// `Acquire` pairs with the `Release` in [`publish`](Self::publish): a caller that sees a new
    /// issue also sees the token that was published with it.
    #[inline]
    pub(super) fn published_issue(&self) -> IssueId {
        self.published_issue.load(Ordering::Acquire)
    }

    /// Changes the machine, which nothing else can do.
    ///
    /// The order is: lock, read the clocks, transition, publish, unlock, emit events, wake.
    pub(super) fn update<R>(&self, transition: impl FnOnce(&mut Machine, Now) -> (R, Events)) -> R {
        let mut machine = self.lock();
        // The clocks are read under the lock, so that the machine sees time in the lock's order.
        let (result, events) = transition(&mut machine, Now::read());
        self.publish(&machine);
        drop(machine);
        let wakes_keep_warm = events.wakes_keep_warm();
        events.emit(&self.credentials, &self.fetcher.metric_labels);
        if wakes_keep_warm {
            self.changed.notify_waiters();
        }
        result
    }

    /// Ends a fetch. If it has failed, the sweeper later stops counting the failure.
    pub(super) fn end_fetch<R>(
        self: &Arc<Self>,
        transition: impl FnOnce(&mut Machine, Now) -> (R, Events),
    ) -> R {
        let (result, has_failed) = self.update(|machine, now| {
            let (result, events) = transition(machine, now);
            ((result, events.has_failure()), events)
        });
        if has_failed {
            self.fetcher.watch(self);
        }
        result
    }

    /// Publishes the token and its next tick. Runs under the lock.
    fn publish(&self, machine: &Machine) {
        let current = machine.current();
        // The hint needs no order: a hit that reads an old value only skips or repeats one report.
        let hint = machine.breaker.acceptance_hint();
        if self.acceptance_hint.load(Ordering::Relaxed) != hint {
            self.acceptance_hint.store(hint, Ordering::Relaxed);
        }
        // `Relaxed` is enough to read back a value that is only written under the lock.
        let issue = current.map_or(0, |token| token.issue());
        let is_new_token = self.published_issue.load(Ordering::Relaxed) != issue;
        if let (Some(token), Some(tick)) = (current, machine.next_tick()) {
            token.set_tick(tick);
        }
        if is_new_token {
            self.published.store(current.cloned());
            self.published_issue.store(issue, Ordering::Release);
        }
    }

    /// Records the rejection of a token (C8, R8).
    pub(super) fn reject(&self, rejection: &Rejection) -> (RejectionOutcome, Suspicions) {
        self.update(|machine, now| {
            let (outcome, events) = machine.reject(rejection, now);
            ((outcome, events.suspicions()), events)
        })
    }

    /// Reports to the breaker that a fresh token was rejected after a resend (R8).
    pub(super) fn fresh_token_rejected(&self, issue: IssueId, target: Target) -> Suspicions {
        self.update(|machine, now| {
            let event = machine.breaker.fresh_token_rejected(issue, target, now.mono);
            let events = Events::from_breaker(event);
            (events.suspicions(), events)
        })
    }

    /// Returns the breaker's acceptance hint.
    #[inline]
    pub(super) fn acceptance_hint(&self) -> u32 {
        self.acceptance_hint.load(Ordering::Relaxed)
    }

    /// Reports to the breaker that an API accepted a token (R8).
    pub(super) fn token_accepted(&self, issue: IssueId, target: Target) {
        self.update(|machine, now| {
            let event = machine.breaker.token_accepted(issue, target, now.mono);
            ((), Events::from_breaker(event))
        });
    }

    /// Resets the breaker, and stops counting a failure, once their times have passed.
    ///
    /// Returns when to call this again.
    pub(super) fn sweep(&self) -> Option<Instant> {
        self.update(Machine::sweep)
    }

    /// Returns whether the breaker is not reset.
    #[inline]
    pub(super) fn is_suspicious(&self) -> bool {
        self.acceptance_hint() != 0
    }

    /// Returns whether a request that took this token earlier may still send it.
    ///
    /// Queries lock the machine too, but publish nothing.
    pub(super) fn may_send(&self, token: &IssuedToken, origin: Option<u64>) -> bool {
        self.lock().may_send(token, origin, Now::read())
    }

    /// Returns whether the token of a completed fetch satisfies a waiter.
    ///
    /// An API may have rejected the token before the waiter ran.
    pub(super) fn may_use(&self, token: &IssuedToken, required: &Requirements) -> bool {
        if !token.satisfies(required.newer_than, &required.claims) {
            return false;
        }
        let machine = self.lock();
        let is_current = |current: &Arc<IssuedToken>| current.issue() == token.issue();
        let is_published = machine.current().is_some_and(is_current);
        (is_published || token.expired_on_arrival()) && machine.may_send(token, None, Now::read())
    }

    /// Returns whether this token, or a newer one, was rejected.
    pub(super) fn is_rejected(&self, issue: IssueId) -> bool {
        self.lock().is_rejected(issue)
    }

    /// Returns a rejected token that this origin did not reject (C12).
    pub(super) fn fallback(&self, required: &Requirements) -> Option<Arc<IssuedToken>> {
        self.lock().fallback(required, Now::read())
    }

    /// Returns when the keep-warm task must ask for a token again.
    pub(super) fn next_keep_warm(&self) -> Instant {
        self.lock().next_keep_warm(Now::read())
    }

    /// Forgets the token and all failures, and supersedes a running fetch.
    pub(super) fn forget(&self) {
        self.update(|machine, _| ((), machine.forget()));
    }

    /// Publishes a token that no fetch brought.
    pub(super) fn preset(&self, token: IssuedToken) {
        self.update(|machine, _| ((), machine.preset(Arc::new(token))));
    }

    /// Returns the state that callers may see.
    pub(super) fn status(&self) -> SlotStatus {
        self.lock().status(Now::read())
    }

    /// Lets the sweeper reset the breaker if there is no further traffic.
    pub(super) fn watch_breaker(self: &Arc<Self>) {
        if self.is_suspicious() {
            self.fetcher.watch(self);
        }
    }

    /// Returns whether any handle to the slot exists.
    pub(super) fn is_held(&self) -> bool {
        self.holders.load(Ordering::Acquire) != 0
    }

    /// Allows the eviction of the slot and ends its keep-warm task.
    ///
    /// It is called when the last handle was dropped.
    pub(super) fn released(&self) {
        if self.is_kept_warm.load(Ordering::Acquire) {
            self.changed.notify_waiters();
        }
        // The upgrade fails once the last clone of the cache has been dropped.
        if let Some(slots) = self.fetcher.slots.upgrade() {
            slots.released(self);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        // A poisoned lock is usable, because transitions do not leave a machine half changed.
        self.machine.lock_unpoisoned()
    }
}

impl Drop for Slot {
    /// Lowers the gauges.
    ///
    /// The owner must not drop the slot under its own lock, because events run callers' code.
    fn drop(&mut self) {
        let machine = self.machine.get_mut_unpoisoned();
        machine.forget().emit(&self.credentials, &self.fetcher.metric_labels);
    }
}
