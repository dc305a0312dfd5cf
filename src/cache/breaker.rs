//! Decides whether a rejection is worth a token request: the circuit breaker (R8).
//!
//! Each set of credentials has one breaker. The breaker is pure: it does no I/O, holds no lock and
//! reads no clock. It judges rejections of the *current* token only, because the machine answers
//! rejections of older tokens itself. A token is *young* for the first 30 s after it arrived. The
//! rejection of an older token always counts and resets the breaker. For young tokens there are
//! five rules:
//!
//! 1. **Windows.** After a young token is rejected, the breaker is open for 100 ms. The first
//!    rejection that counts after that opens it again for twice as long, up to 5 s. A successful
//!    resend does not shorten the next window, because one good node of a broken API could then
//!    keep all windows short. Every tenth window lasts 25 s. Some APIs accept a token only seconds
//!    after it was issued, for example because their clock is late. Without the long window,
//!    such an API would never get a token that is old enough.
//! 2. **Evidence.** While the breaker is open, a rejection still counts if the same origin has
//!    accepted the token, because the token must then have been revoked. See [`Evidence`].
//! 3. **Allowance.** Each rejection that counts takes one unit from an allowance: 15 at once, and
//!    one more every 2 s. The allowance bounds the cost of an API whose answers look like evidence,
//!    such as one bad node behind a load balancer.
//! 4. **Suspicion.** A rejection that counts makes the token suspect instead of rejected if it
//!    comes without evidence, or if it is not among the first few. Requests that were not rejected
//!    then go on with the token until the next one arrives, so that one bad API does not make the
//!    others wait. The first rejection needs no evidence.
//! 5. **Contention.** If tokens in a row are accepted and then rejected, several processes may
//!    revoke each other's tokens. Rejections then count once in 5 s. See [`Contention`].
//!
//! If the second token of a request is rejected, it may have been revoked together with the first.
//! The rejection counts as if there were evidence.

mod contention;
mod evidence;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::Instant;

use self::contention::Contention;
use self::evidence::Evidence;
pub(crate) use self::evidence::acceptance_hash;
use super::issued::IssueId;

/// The time after its arrival for which a token is young.
pub(crate) const YOUNG: Duration = Duration::from_secs(30);
/// The time without a rejection after which the breaker resets.
pub(crate) const RESET_AFTER: Duration = Duration::from_secs(30);
/// The time for which the breaker opens first.
const FIRST_WINDOW: Duration = Duration::from_millis(100);
/// The time for which the breaker opens the seventh time, and most later times.
const LAST_WINDOW: Duration = Duration::from_secs(5);
/// The time for which the breaker opens every tenth time. It is shorter than [`YOUNG`].
const LONG_WINDOW: Duration = Duration::from_secs(25);
/// The units of a full allowance.
///
/// At most `ALLOWANCE + 60 s / ALLOWANCE_REFILL` rejections count in a minute, which is 45.
const ALLOWANCE: u32 = 15;
/// The time in which one unit of the allowance is restored.
const ALLOWANCE_REFILL: Duration = Duration::from_secs(2);
/// A rejection within this number of used units withdraws the token from all requests.
///
/// Each such rejection makes all requests wait for the next token.
const MAX_TRUSTED: u32 = 2;

// A reset breaker forgets its allowance. Nothing is gained by that, because the allowance is full
// again by the time at which a breaker resets or a young token becomes older.
const _: () = {
    let full_after = ALLOWANCE_REFILL.as_secs() * ALLOWANCE as u64;
    assert!(full_after <= RESET_AFTER.as_secs() && full_after <= YOUNG.as_secs());
};

/// Identifies the target of a request by hashes, which are only compared for equality.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Identifies the origin. A relative URI has the origin of the inner service.
    pub(crate) origin: u64,
    /// Identifies the origin, the method and the path.
    pub(crate) resource: u64,
}

/// Judges the rejections of tokens of one set of credentials.
///
/// The breaker is reset while there is no suspicion. The fields are boxed, so that idle
/// credentials pay for pointers only.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    suspicion: Option<Box<Suspicion>>,
    /// Set once a rejection has counted. It outlives the suspicion, because processes with little
    /// traffic revoke each other's tokens less than once in 30 s.
    contention: Option<Box<Contention>>,
}

/// Remembers rejections, acceptances and the allowance after a young token was rejected.
#[derive(Debug)]
struct Suspicion {
    /// The number of windows so far. It is 0 only inside a transition.
    openings: u32,
    /// The time until which the breaker is open.
    open_until: Instant,
    /// The time at which the allowance will be full again, which represents its level (GCRA).
    allowance_full_at: Instant,
    last_rejection: Instant,
    evidence: Evidence,
    /// The newest issue that was rejected after a resend although it was fresh. 0 if none was.
    newest_refused_issue: IssueId,
    /// Says whether [`BreakerEvent::Opened`] has been returned.
    is_announced: bool,
}

/// Describes the send of a request whose token was rejected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RejectedSend {
    pub(crate) issue: IssueId,
    /// The time at which this process received the token.
    ///
    /// The time of the token request is not usable, because a store, or a source with its own
    /// cache, can return tokens that were requested long ago. Each of them would reset the breaker.
    pub(crate) arrived_at: Instant,
    pub(crate) target: Target,
    pub(crate) send: SendNumber,
}

/// Says which send of a request was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendNumber {
    First,
    /// The second token may be as old as the first one (C8).
    ///
    /// Its fetch began before the rejection, or it came from a store.
    Second,
    /// The third send is the last one (C8).
    ///
    /// This holds even if the source returns old tokens again and again.
    Third,
}

/// Says what happens to a token that was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No request uses this token any more. Fetch another one and resend.
    Reject,
    /// Fetch another token and resend. Other requests use this token until then.
    Suspect,
    /// Return the response. The token stays current.
    Ignore,
}

/// Describes a change that is logged and measured.
///
/// The gauge of open breakers counts those whose opening was returned as an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BreakerEvent {
    Opened {
        window: Duration,
    },
    /// The breaker was reset because time has passed, and opened in the same step.
    Reopened {
        window: Duration,
    },
    Reset,
}

impl Breaker {
    /// Returns whether a young token was rejected in the last 30 s.
    fn is_suspicious(&self) -> bool {
        self.suspicion.is_some()
    }

    /// Returns the value that hits compare before they report an acceptance.
    ///
    /// The value is 0 while the breaker is reset: no acceptance is of interest. Otherwise it is
    /// the [`acceptance_hash`] of the one acceptance that does not need to be reported again, or 1
    /// if all acceptances are of interest.
    pub(crate) fn acceptance_hint(&self) -> u32 {
        let needs_all = || self.contention.as_ref().is_some_and(|one| one.needs_acceptances());
        match &self.suspicion {
            None => 0,
            Some(_) if needs_all() => 1,
            Some(suspicion) => suspicion.evidence.hint(),
        }
    }

    /// Returns when the breaker resets if there is no further rejection.
    pub(crate) fn resets_at(&self) -> Option<Instant> {
        self.suspicion.as_ref().map(|suspicion| suspicion.last_rejection + RESET_AFTER)
    }

    /// Judges the rejection of the current token.
    ///
    /// The caller must not report the rejection of a fresh token after a resend here, but to
    /// [`fresh_token_rejected`](Self::fresh_token_rejected).
    pub(crate) fn judge_rejection(
        &mut self,
        rejected: RejectedSend,
        now: Instant,
    ) -> (Verdict, Option<BreakerEvent>) {
        let RejectedSend { issue, arrived_at, target, send } = rejected;
        let reset = self.tick(now);
        if now >= arrived_at + YOUNG {
            // A token that worked for 30 s shows that the API is not broken.
            self.contention(now).rejection_counted(issue, now);
            return (Verdict::Reject, reset.or_else(|| self.reset()));
        }
        let was_reset = !self.is_suspicious();
        let is_delayed = self.contention(now).delays_rejection(now);
        let suspicion = self.suspect(now);
        let has_evidence = suspicion.evidence.shows_revocation(issue, target);
        let is_open = now < suspicion.open_until;
        let may_count = !is_open || has_evidence || send == SendNumber::Second;
        if is_delayed || !may_count || !suspicion.take_from_allowance(now) {
            return (Verdict::Ignore, reset);
        }
        // A rejection that counts while the breaker is open does not prolong the window, because
        // the allowance bounds such rejections.
        if !is_open {
            suspicion.open(now);
        }
        suspicion.evidence.rejection_counted(issue);
        let is_credible = was_reset || has_evidence || send == SendNumber::Second;
        let verdict = if is_credible && suspicion.has_used_at_most(MAX_TRUSTED, now) {
            Verdict::Reject
        } else {
            Verdict::Suspect
        };
        // A revocation is not the API's fault.
        let opened = if has_evidence { None } else { suspicion.announce() };
        self.contention(now).rejection_counted(issue, now);
        (verdict, BreakerEvent::combine(reset, opened))
    }

    /// Records a further rejection of a token that was rejected before.
    pub(crate) fn rejected_again(&mut self, issue: IssueId) {
        if let Some(contention) = &mut self.contention {
            contention.rejected_again(issue);
        }
    }

    /// Returns `true` once, when several processes seem to revoke each other's tokens.
    pub(crate) fn announce_contention(&mut self) -> bool {
        self.contention.as_mut().is_some_and(|contention| contention.announce())
    }

    /// Records that a fresh token was rejected after a resend.
    ///
    /// Many resends with the same token count once.
    pub(crate) fn fresh_token_rejected(
        &mut self,
        issue: IssueId,
        target: Target,
        now: Instant,
    ) -> Option<BreakerEvent> {
        let reset = self.tick(now);
        if let Some(contention) = &mut self.contention {
            contention.fresh_token_rejected();
        }
        let suspicion = self.suspect(now);
        suspicion.evidence.fresh_token_rejected(issue, target);
        if issue > suspicion.newest_refused_issue {
            suspicion.newest_refused_issue = issue;
            suspicion.openings = suspicion.openings.max(1);
            suspicion.open_until = suspicion.open_until.max(now + window(suspicion.openings));
        }
        BreakerEvent::combine(reset, suspicion.announce())
    }

    /// Records that an API accepted a token.
    ///
    /// The caller leaves out responses that an API may send without a look at the token, such as
    /// the 503 of an overloaded gateway.
    pub(crate) fn token_accepted(
        &mut self,
        issue: IssueId,
        target: Target,
        now: Instant,
    ) -> Option<BreakerEvent> {
        let reset = self.tick(now);
        if let Some(suspicion) = &mut self.suspicion {
            suspicion.evidence.token_accepted(issue, target);
        }
        if let Some(contention) = &mut self.contention {
            contention.token_accepted(issue);
        }
        reset
    }

    /// Resets the breaker if there was no rejection for [`RESET_AFTER`].
    ///
    /// Each tick of the slot calls this. Without traffic, the cache's sweeper does.
    pub(crate) fn tick(&mut self, now: Instant) -> Option<BreakerEvent> {
        if self.resets_at().is_some_and(|resets_at| now >= resets_at) { self.reset() } else { None }
    }

    /// Resets the breaker. Returns an event only if the opening was announced.
    pub(crate) fn reset(&mut self) -> Option<BreakerEvent> {
        self.suspicion.take()?.is_announced.then_some(BreakerEvent::Reset)
    }

    fn contention(&mut self, now: Instant) -> &mut Contention {
        self.contention.get_or_insert_with(|| Box::new(Contention::new(now)))
    }

    /// Records the time of a rejection and returns the suspicion, which is created if needed.
    fn suspect(&mut self, now: Instant) -> &mut Suspicion {
        let suspicion = self.suspicion.get_or_insert_with(|| {
            Box::new(Suspicion {
                openings: 0,
                open_until: now,
                allowance_full_at: now,
                last_rejection: now,
                evidence: Evidence::default(),
                newest_refused_issue: 0,
                is_announced: false,
            })
        });
        suspicion.last_rejection = now;
        suspicion
    }

    /// Returns whether a rejection without evidence is ignored now.
    #[cfg(test)]
    fn is_open(&self, now: Instant) -> bool {
        self.suspicion.as_ref().is_some_and(|suspicion| now < suspicion.open_until)
    }
}

impl Suspicion {
    /// Takes one unit from the allowance. Returns `false` if none is left.
    fn take_from_allowance(&mut self, now: Instant) -> bool {
        let has_unit = self.has_used_at_most(ALLOWANCE - 1, now);
        if has_unit {
            self.allowance_full_at = self.allowance_full_at.max(now) + ALLOWANCE_REFILL;
        }
        has_unit
    }

    /// Returns whether at most so many units of the allowance are used.
    fn has_used_at_most(&self, units: u32, now: Instant) -> bool {
        self.allowance_full_at <= now + ALLOWANCE_REFILL * units
    }

    /// Opens the breaker for the next window.
    fn open(&mut self, now: Instant) {
        self.openings += 1;
        self.open_until = now + window(self.openings);
    }

    /// Returns [`BreakerEvent::Opened`] once.
    ///
    /// The first rejection of a young token is not announced, because the token may have been
    /// revoked. A revocation does not explain a second window, or the rejection of a fresh token.
    fn announce(&mut self) -> Option<BreakerEvent> {
        let is_news = (self.openings >= 2 || self.newest_refused_issue != 0) && !self.is_announced;
        self.is_announced |= is_news;
        is_news.then(|| BreakerEvent::Opened { window: window(self.openings) })
    }
}

impl BreakerEvent {
    /// Returns the change of the gauge of open breakers.
    pub(crate) fn gauge_change(self) -> i8 {
        match self {
            Self::Opened { .. } => 1,
            Self::Reopened { .. } => 0,
            Self::Reset => -1,
        }
    }

    /// Returns one event for a step that may have reset and reopened the breaker.
    fn combine(reset: Option<Self>, opened: Option<Self>) -> Option<Self> {
        match (reset, opened) {
            (Some(Self::Reset), Some(Self::Opened { window })) => Some(Self::Reopened { window }),
            (reset, opened) => opened.or(reset),
        }
    }
}

/// Returns how long the breaker stays open after this opening, counted from 1.
fn window(opening: u32) -> Duration {
    if opening % 10 == 0 {
        return LONG_WINDOW;
    }
    FIRST_WINDOW.saturating_mul(1 << (opening - 1).min(20)).min(LAST_WINDOW)
}
