//! Judges the rejection of a token (C8, C12, R7, R8).

use std::sync::Arc;

use super::super::breaker::{RejectedSend, SendNumber, Target, Verdict};
use super::super::claims::Claims;
use super::super::issued::{IssueId, Sequence};
use super::{
    CurrentToken, Event, Events, FailedDuring, IssuedToken, Machine, Requirements, Standing,
    TokenState,
};
use crate::util::clock::Now;

/// Limits the origins that are remembered as rejecting one token (C12).
const MAX_REJECTING_ORIGINS: usize = 8;

/// The report that an API or a caller rejected a token.
#[derive(Clone, Debug)]
pub(crate) struct Rejection {
    pub(crate) issue: IssueId,
    /// The target of the request that was rejected. `None` if a caller rejects the token by hand.
    pub(crate) target: Option<Target>,
    /// The claims that the API requires.
    pub(crate) claims: Claims,
    pub(crate) send: SendNumber,
}

/// Tells a rejected request whether it can get another token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RejectionOutcome {
    /// Another token is current or will be fetched. If its fetch began before `since`, the token
    /// may be as old as the rejected one (C8).
    Replaced { since: Sequence },
    /// The breaker ignores the rejection, and the token stays current (R8).
    BreakerOpen,
    /// The token endpoint has just refused the claims that the API requires (R7).
    ClaimsRefused,
    /// The slot has a single token, which stays current.
    FixedToken,
}

/// A rejected token and the origins that rejected it.
#[derive(Debug)]
pub(super) struct RejectedToken {
    pub(super) token: Arc<IssuedToken>,
    pub(super) by: RejectedBy,
}

/// The origins that rejected a token.
#[derive(Debug)]
pub(super) enum RejectedBy {
    /// At most [`MAX_REJECTING_ORIGINS`] origins, by their hashes.
    Origins(Vec<u64>),
    /// A caller or too many origins rejected the token. No origin gets the token.
    Everyone,
}

impl Machine {
    /// Records that an API or a caller rejected a token.
    pub(in crate::cache) fn reject(
        &mut self,
        rejection: &Rejection,
        now: Now,
    ) -> (RejectionOutcome, Events) {
        self.expire_if_due(now);
        let Rejection { issue, target, claims, .. } = rejection;
        if self.refused_claims.contains(claims, now) {
            return (RejectionOutcome::ClaimsRefused, Events::default());
        }
        match &mut self.token_state {
            TokenState::Current(current) if current.token.is_fixed() => {
                (RejectionOutcome::FixedToken, Events::default())
            }
            TokenState::Current(current) => {
                let is_current = current.token.issue() == *issue;
                // C8: a late rejection of an older token changes nothing, unless the current token
                // lacks the claims that the API requires.
                if !is_current && current.token.claims().covers(claims) {
                    return (self.replaced(*issue), Events::default());
                }
                // Further rejections of a suspect token change nothing. A rejection by hand does,
                // because the token must not be handed out after it.
                if current.standing == Standing::Suspect && target.is_some() {
                    self.breaker.rejected_again(*issue);
                    self.wanted_claims.merge(claims);
                    return (self.replaced(*issue), Events::default());
                }
                self.judge_rejection(rejection, now)
            }
            TokenState::Rejected(rejected) => {
                if rejected.token.issue() == *issue {
                    rejected.by.insert(target.map(|target| target.origin));
                    self.breaker.rejected_again(*issue);
                }
                self.wanted_claims.merge(claims);
                (self.replaced(*issue), Events::default())
            }
            TokenState::Absent | TokenState::Expired(_) => {
                self.wanted_claims.merge(claims);
                (self.replaced(*issue), Events::default())
            }
        }
    }

    /// Lets the breaker judge a rejection of the current token, and acts on its verdict.
    fn judge_rejection(&mut self, rejection: &Rejection, now: Now) -> (RejectionOutcome, Events) {
        let TokenState::Current(current) = &mut self.token_state else {
            return (self.replaced(rejection.issue), Events::default());
        };
        let issue = current.token.issue();
        let (verdict, breaker) = match rejection.target {
            Some(target) => {
                let rejected = RejectedSend {
                    issue,
                    arrived_at: current.token.arrived_at(),
                    target,
                    send: rejection.send,
                };
                self.breaker.judge_rejection(rejected, now.mono)
            }
            None => (Verdict::Reject, None),
        };
        // R7: a token that only lacks claims is still good for all other requests.
        let verdict = match verdict {
            Verdict::Reject if issue != rejection.issue => Verdict::Suspect,
            verdict => verdict,
        };
        match verdict {
            Verdict::Ignore => {
                return (RejectionOutcome::BreakerOpen, Events::from_breaker(breaker));
            }
            Verdict::Suspect => current.standing = Standing::Suspect,
            Verdict::Reject => {
                let by = RejectedBy::first(rejection.target.map(|target| target.origin));
                let token = current.token.clone();
                self.token_state = TokenState::Rejected(Box::new(RejectedToken { token, by }));
            }
        }
        // A suspect token counts as rejected too, once another one has taken its place.
        self.rejected_through = self.rejected_through.max(issue);
        self.wanted_claims.merge(&rejection.claims);
        self.last_rejection = self.next_sequence();
        let mut events = self.clear_renewal_failure();
        events.breaker = breaker;
        events.is_contention_new = self.breaker.announce_contention();
        events.event = Some(Event::Rejected { issue });
        events.wakes_keep_warm = true;
        (RejectionOutcome::Replaced { since: self.last_rejection }, events)
    }

    /// Withdraws a suspect token that a request was rejected with and cannot be resent (R3).
    ///
    /// The next request of that caller must wait for another token, not get the same 401 again.
    pub(in crate::cache) fn withdraw_suspect(&mut self, required: &Requirements) {
        if let TokenState::Current(CurrentToken { token, standing: Standing::Suspect, .. }) =
            &self.token_state
        {
            if Some(token.issue()) == required.newer_than {
                let (token, by) = (token.clone(), RejectedBy::first(required.origin));
                self.token_state = TokenState::Rejected(Box::new(RejectedToken { token, by }));
            }
        }
    }

    /// Answers a rejection that changes nothing (C8).
    ///
    /// If `issue` was replaced without being rejected, its successor may be just as bad. The answer
    /// then treats every token that exists now as possibly old.
    fn replaced(&mut self, issue: IssueId) -> RejectionOutcome {
        let is_known = issue <= self.rejected_through;
        let since = if is_known { self.last_rejection } else { self.next_sequence() };
        RejectionOutcome::Replaced { since }
    }

    /// Returns the token that an API rejected and that no other token has replaced yet.
    pub(super) fn rejected_token(&self) -> Option<&IssuedToken> {
        match &self.token_state {
            TokenState::Rejected(rejected) => Some(&rejected.token),
            TokenState::Current(current) if current.standing == Standing::Suspect => {
                Some(&current.token)
            }
            _ => None,
        }
    }

    /// Clears the failure of a renewal after a rejection, unless the server sent `Retry-After`.
    ///
    /// The first fetch after a rejection does not wait for the renewal's back-off (C9).
    fn clear_renewal_failure(&mut self) -> Events {
        match &self.failure {
            Some(failure)
                if failure.failed_during == FailedDuring::Renewal
                    && failure.error.retry_after().is_none() =>
            {
                self.clear_failures()
            }
            _ => Events::default(),
        }
    }
}

impl RejectedBy {
    /// Creates the set for the first rejection. `None` means a rejection by hand.
    fn first(origin: Option<u64>) -> Self {
        origin.map_or(Self::Everyone, |origin| Self::Origins(vec![origin]))
    }

    fn insert(&mut self, origin: Option<u64>) {
        match (&mut *self, origin) {
            (Self::Everyone, _) => {}
            (Self::Origins(known), Some(origin)) if known.contains(&origin) => {}
            (Self::Origins(known), Some(origin)) if known.len() < MAX_REJECTING_ORIGINS => {
                known.push(origin);
            }
            (Self::Origins(_), _) => *self = Self::Everyone,
        }
    }

    /// Returns whether the origin is known and has not rejected the token (C12).
    pub(super) fn allows(&self, origin: Option<u64>) -> bool {
        match (self, origin) {
            (Self::Origins(known), Some(origin)) => !known.contains(&origin),
            _ => false,
        }
    }
}
