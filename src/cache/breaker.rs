//! Circuit breaker for rejected tokens (R8): decides whether a rejection is worth a token request.
//!
//! Each set of credentials has one breaker. The breaker is pure: it does no I/O, holds no lock and
//! reads no clock. It judges rejections of the *current* token only; the machine answers rejections
//! of older tokens itself. A token is *young* if it was requested less than 30 s ago. The rejection
//! of an older token always counts and closes the breaker. For young tokens there are four rules:
//!
//! 1. **Ladder.** After a young token is rejected, the breaker is open for 100 ms. Each further
//!    rejection that counts after that opens it again for twice as long, up to 5 s. A
//!    successful resend does not reset the ladder, because one good node of a broken API could
//!    then keep resetting it.
//! 2. **Evidence.** While the breaker is open, a rejection still counts if the same origin has
//!    accepted the same token since the breaker became suspicious, because the token must then have
//!    been revoked. If the resend is rejected too, the evidence was misleading. The breaker then
//!    ignores evidence for that method and path until they accept a token.
//! 3. **Allowance.** Each rejection that counts takes one unit from an allowance: 24 at once, and
//!    one more every 1.8 s. The allowance bounds the cost of an API whose answers look like
//!    evidence, such as one bad node behind a load balancer.
//! 4. **Suspicion.** A rejection that counts makes the token suspect instead of rejected if it
//!    comes without evidence, or if half of the allowance is used up. Requests that were not
//!    rejected then go on with the token until the next one arrives, so that one bad API does not
//!    make the others wait. The first rejection, and those of a request's later sends, need no
//!    evidence.

use std::time::Duration;

use tokio::time::Instant;

/// Separates young tokens from older ones by their age when they are rejected.
pub(crate) const YOUNG: Duration = Duration::from_secs(30);
/// Closes the breaker after this time without a rejection.
pub(crate) const CLOSE_AFTER: Duration = Duration::from_secs(30);
/// Opens the breaker for this time on the first rung of the ladder.
pub(crate) const FIRST_WINDOW: Duration = Duration::from_millis(100);
/// Opens the breaker for this time on the last rung of the ladder.
pub(crate) const LONGEST_WINDOW: Duration = Duration::from_secs(5);
/// Counts the units of a full allowance.
///
/// At most `ALLOWANCE + 60 s / ALLOWANCE_REFILL` rejections count in a minute.
pub(crate) const ALLOWANCE: u32 = 24;
/// Restores one unit of the allowance each time this duration has passed.
pub(crate) const ALLOWANCE_REFILL: Duration = Duration::from_millis(1800);

/// Identifies the target of a request by hashes, which are only compared for equality.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Identifies the origin. A relative URI has the origin of the inner service.
    pub(crate) origin: u64,
    /// Identifies the origin, the method and the path.
    pub(crate) resource: u64,
}

/// Judges the rejections of tokens of one set of credentials.
#[derive(Debug, Default)]
pub(crate) enum Breaker {
    /// No young token has been rejected in the last 30 s.
    #[default]
    Closed,
    /// A young token has been rejected. Boxed, so that idle credentials pay for a pointer only.
    Suspicious(Box<Suspicion>),
}

/// Remembers rejections, acceptances and the allowance after a young token was rejected.
#[derive(Debug)]
pub(crate) struct Suspicion {
    /// Counts the rungs that were climbed. It is 0 only inside a transition.
    rung: u32,
    /// Holds the time until which the breaker is open.
    open_until: Instant,
    /// Represents the allowance as the instant at which it will be full again (GCRA).
    allowance_full_at: Instant,
    last_rejection: Instant,
    /// Holds the newest issue whose rejection after a resend has opened the breaker.
    newest_resent_issue: u64,
    accepted: AcceptingOrigins,
    /// Holds the resource whose evidence made the last rejection count; 0 if there was none.
    last_evidence: u64,
    misleading: RecentResources,
    /// Set once a fresh token has been rejected after a resend. A revocation does not explain that.
    has_rejected_resend: bool,
    /// Set once [`BreakerEvent::Opened`] has been returned.
    is_announced: bool,
}

/// Remembers which origins have accepted one token.
///
/// This is a Bloom filter, which may name an origin by mistake. The allowance bounds the cost.
#[derive(Debug, Default)]
struct AcceptingOrigins {
    issue: u64,
    bits: [u64; 4],
}

/// Remembers the last eight resources whose evidence was misleading. 0 marks an empty entry.
#[derive(Debug, Default)]
struct RecentResources {
    entries: [u64; 8],
    next: usize,
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

/// Says which send of a request was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendNumber {
    First,
    /// The request was sent before with another token. The second token may be as old as the first,
    /// because its fetch began earlier or because it came from a store (C8).
    Later,
}

/// Describes the send of a request that was rejected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RejectedSend {
    pub(crate) issue: u64,
    pub(crate) age: Duration,
    pub(crate) target: Target,
    pub(crate) send: SendNumber,
}

/// Describes a change that is logged and measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BreakerEvent {
    Opened { window: Duration },
    Closed,
}

impl Breaker {
    /// Returns a value that hits load to find out whether to call
    /// [`token_accepted`](Self::token_accepted).
    ///
    /// The value is 0 while the breaker is closed. It is [`acceptance_hash`] of the last acceptance
    /// if that one is known already, so that a hit does not report the same acceptance twice.
    pub(crate) fn hint(&self, last_acceptance: Option<(u64, u64)>) -> u64 {
        match (self, last_acceptance) {
            (Self::Closed, _) => 0,
            (Self::Suspicious(suspicion), Some((issue, origin)))
                if suspicion.misleading.is_empty() =>
            {
                acceptance_hash(issue, origin)
            }
            (Self::Suspicious(_), _) => 1,
        }
    }

    /// Returns whether a rejection without evidence is ignored now.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        matches!(self, Self::Suspicious(suspicion) if now < suspicion.open_until)
    }

    /// Returns when the breaker closes if there is no further rejection.
    pub(crate) fn closes_at(&self) -> Option<Instant> {
        match self {
            Self::Closed => None,
            Self::Suspicious(suspicion) => Some(suspicion.last_rejection + CLOSE_AFTER),
        }
    }

    pub(crate) fn is_suspicious(&self) -> bool {
        matches!(self, Self::Suspicious(_))
    }

    /// Judges the rejection of the current token, which was requested `age` ago.
    ///
    /// The caller must not report the rejection of a fresh token after a resend here, but to
    /// [`fresh_token_rejected`](Self::fresh_token_rejected).
    pub(crate) fn judge_rejection(
        &mut self,
        rejected: RejectedSend,
        now: Instant,
    ) -> (Verdict, Option<BreakerEvent>) {
        let RejectedSend { issue, age, target, send } = rejected;
        let closed = self.tick(now);
        if age >= YOUNG {
            // A token that worked for 30 s shows that the API is not broken.
            return (Verdict::Reject, closed.or(self.close()));
        }
        let was_closed = !self.is_suspicious();
        let suspicion = self.suspicion(now);
        suspicion.last_rejection = now;
        let has_evidence = suspicion.accepted.contains(issue, target.origin)
            && !suspicion.misleading.contains(target.resource);
        let may_count = now >= suspicion.open_until || has_evidence || send == SendNumber::Later;
        if !may_count || !suspicion.take_from_allowance(now) {
            return (Verdict::Ignore, closed);
        }
        // A rejection that counts while the breaker is open does not prolong the window, because
        // the allowance bounds such rejections.
        if now >= suspicion.open_until {
            suspicion.climb(now);
        }
        suspicion.last_evidence = if has_evidence { target.resource } else { 0 };
        let is_believed = was_closed || has_evidence || send == SendNumber::Later;
        let has_half_allowance =
            suspicion.allowance_full_at <= now + ALLOWANCE_REFILL * (ALLOWANCE / 2);
        let verdict =
            if is_believed && has_half_allowance { Verdict::Reject } else { Verdict::Suspect };
        (verdict, closed.or_else(|| suspicion.announce()))
    }

    /// Records that a fresh token was rejected after a resend.
    ///
    /// Many resends with the same token count once.
    pub(crate) fn fresh_token_rejected(
        &mut self,
        issue: u64,
        target: Target,
        now: Instant,
    ) -> Option<BreakerEvent> {
        let suspicion = self.suspicion(now);
        suspicion.last_rejection = now;
        if suspicion.last_evidence == target.resource {
            suspicion.misleading.insert(target.resource);
        }
        if issue <= suspicion.newest_resent_issue {
            return None;
        }
        suspicion.newest_resent_issue = issue;
        suspicion.rung = suspicion.rung.max(1);
        suspicion.open_until = suspicion.open_until.max(now + window(suspicion.rung));
        suspicion.has_rejected_resend = true;
        suspicion.announce()
    }

    /// Records that an API accepted a token. The caller reports this while [`hint`](Self::hint) is
    /// not 0.
    pub(crate) fn token_accepted(
        &mut self,
        issue: u64,
        target: Target,
        now: Instant,
    ) -> Option<BreakerEvent> {
        let closed = self.tick(now);
        if let Self::Suspicious(suspicion) = self {
            suspicion.accepted.insert(issue, target.origin);
            suspicion.misleading.remove(target.resource);
        }
        closed
    }

    /// Closes the breaker if there was no rejection for [`CLOSE_AFTER`].
    ///
    /// Each tick of the slot calls this. Without traffic, the cache's sweeper does.
    pub(crate) fn tick(&mut self, now: Instant) -> Option<BreakerEvent> {
        match self {
            Self::Suspicious(suspicion) if now >= suspicion.last_rejection + CLOSE_AFTER => {
                self.close()
            }
            _ => None,
        }
    }

    /// Closes the breaker. Returns an event only if the opening was announced.
    pub(crate) fn close(&mut self) -> Option<BreakerEvent> {
        match std::mem::take(self) {
            Self::Suspicious(suspicion) if suspicion.is_announced => Some(BreakerEvent::Closed),
            _ => None,
        }
    }

    /// Returns the suspicion. Makes the breaker suspicious if it is closed.
    fn suspicion(&mut self, now: Instant) -> &mut Suspicion {
        if let Self::Closed = self {
            *self = Self::Suspicious(Box::new(Suspicion {
                rung: 0,
                open_until: now,
                allowance_full_at: now,
                last_rejection: now,
                newest_resent_issue: 0,
                accepted: AcceptingOrigins::default(),
                last_evidence: 0,
                misleading: RecentResources::default(),
                has_rejected_resend: false,
                is_announced: false,
            }));
        }
        match self {
            Self::Suspicious(suspicion) => suspicion,
            Self::Closed => unreachable!("breaker was made suspicious above"),
        }
    }
}

impl Suspicion {
    /// Takes one unit from the allowance. Returns `false` if none is left.
    fn take_from_allowance(&mut self, now: Instant) -> bool {
        if self.allowance_full_at > now + ALLOWANCE_REFILL * (ALLOWANCE - 1) {
            return false;
        }
        self.allowance_full_at = self.allowance_full_at.max(now) + ALLOWANCE_REFILL;
        true
    }

    /// Opens the breaker for the window of the next rung.
    fn climb(&mut self, now: Instant) {
        self.rung += 1;
        self.open_until = now + window(self.rung);
    }

    /// Returns [`BreakerEvent::Opened`] once.
    ///
    /// The first rejection of a young token is not announced, because the token may have been
    /// revoked.
    fn announce(&mut self) -> Option<BreakerEvent> {
        let is_news = (self.rung >= 2 || self.has_rejected_resend) && !self.is_announced;
        self.is_announced |= is_news;
        is_news.then(|| BreakerEvent::Opened { window: window(self.rung) })
    }
}

/// Returns how long the breaker opens on this rung.
pub(crate) fn window(rung: u32) -> Duration {
    FIRST_WINDOW.saturating_mul(1 << rung.saturating_sub(1).min(20)).min(LONGEST_WINDOW)
}

/// Hashes an acceptance for [`Breaker::hint`]. The result is never 0 or 1.
pub(crate) fn acceptance_hash(issue: u64, origin: u64) -> u64 {
    mix(issue ^ origin) | 2
}

fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 31)).wrapping_mul(0x7fb5_d329_728e_a185);
    n ^ (n >> 27)
}

impl AcceptingOrigins {
    /// Returns the two positions of an origin in the filter: the word and its bit.
    fn positions(origin: u64) -> [(usize, u64); 2] {
        let hash = mix(origin);
        [hash, hash >> 32].map(|half| ((half >> 6) as usize % 4, 1 << (half % 64)))
    }

    /// Adds an origin. Forgets the origins of older issues.
    fn insert(&mut self, issue: u64, origin: u64) {
        if issue < self.issue {
            return;
        }
        if issue > self.issue {
            *self = Self { issue, bits: [0; 4] };
        }
        for (word, bit) in Self::positions(origin) {
            self.bits[word] |= bit;
        }
    }

    fn contains(&self, issue: u64, origin: u64) -> bool {
        self.issue == issue
            && Self::positions(origin).iter().all(|(word, bit)| self.bits[*word] & bit != 0)
    }
}

impl RecentResources {
    fn is_empty(&self) -> bool {
        self.entries == [0; 8]
    }

    fn contains(&self, resource: u64) -> bool {
        self.entries.contains(&resource)
    }

    /// Adds a resource in place of the oldest one.
    fn insert(&mut self, resource: u64) {
        if !self.contains(resource) {
            self.entries[self.next] = resource;
            self.next = (self.next + 1) % self.entries.len();
        }
    }

    fn remove(&mut self, resource: u64) {
        self.entries.iter_mut().filter(|entry| **entry == resource).for_each(|entry| *entry = 0);
    }
}
