//! Ends a fetch, with or without a result.

use std::error::Error as _;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::super::fetch::FetchId;
use super::super::schedule::FailureClass;
use super::failure::Counting;
use super::{
    CurrentToken, Event, Events, FailedDuring, Failure, Fetch, FetchSpec, IssuedToken, Machine,
    Moment, Retry, Standing, TokenState, Waiters,
};
use crate::credentials::request::Cause;
use crate::error::{TokenError, TokenErrorKind};
use crate::secret::SecretTimeout;
use crate::util::clock::Now;

/// Delays the renewal that follows a lost one.
const LOST_RENEWAL_PAUSE: Duration = Duration::from_secs(1);

/// The result of a token request.
#[derive(Debug)]
pub(in crate::cache) struct FetchResult {
    pub(in crate::cache) id: FetchId,
    pub(in crate::cache) result: Result<IssuedToken, TokenError>,
    /// The version of the credentials when the token request began.
    pub(in crate::cache) version: u64,
    pub(in crate::cache) timing: TaskTiming,
}

/// Says whether the fetch task itself ran on time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum TaskTiming {
    OnTime,
    /// A beat of the task came more than a second late.
    ///
    /// The process may have been frozen. A timeout then says nothing about the token endpoint.
    Stalled,
}

/// Tells a fetch task what to do with its result.
#[derive(Debug)]
pub(in crate::cache) enum Completion {
    /// Give this result to the waiters and end.
    Done(Result<Arc<IssuedToken>, TokenError>),
    /// Send another token request.
    Refetch(FetchSpec),
    /// Give this result to the remaining waiters. The slot has not changed, because the fetch was
    /// presumed dead or the slot was cleared.
    Superseded(Result<Arc<IssuedToken>, TokenError>),
}

/// A fetch task that ended without a result.
#[derive(Debug)]
pub(in crate::cache) struct LostFetch {
    pub(in crate::cache) id: FetchId,
    pub(in crate::cache) loss: Loss,
    /// The error for the waiters if the loss counts as a failure.
    pub(in crate::cache) interrupted: TokenError,
}

/// Says how a fetch task ended without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Loss {
    /// The runtime shut down and dropped the task.
    RuntimeEnded,
    Panicked,
}

/// Tells the waiters of an abandoned fetch how to continue.
#[derive(Debug)]
pub(in crate::cache) enum Abandoned {
    /// The waiters ask the machine again.
    Lost,
    /// The waiters get this error.
    Failed(TokenError),
}

/// A token, and the version of the credentials with which it was requested.
struct FetchedToken {
    token: IssuedToken,
    version: u64,
}

/// A failed token request.
struct FetchFailure {
    error: TokenError,
    version: u64,
    timing: TaskTiming,
}

impl Machine {
    /// Takes over the result of a fetch, unless the fetch has been superseded.
    pub(in crate::cache) fn complete(
        &mut self,
        fetched: FetchResult,
        at: Moment<'_>,
    ) -> (Completion, Events) {
        self.expire_if_due(at.now);
        let FetchResult { id, result, version, timing } = fetched;
        let Some(fetch) = self.take_fetch(id) else {
            return (Completion::Superseded(result.map(Arc::new)), Events::default());
        };
        self.consecutive_panics = 0;
        match result {
            Ok(token) => self.accept_token(fetch, FetchedToken { token, version }, at),
            Err(error) => self.fail_or_retry(fetch, FetchFailure { error, version, timing }, at),
        }
    }

    /// Makes a fetched token current, unless it was rejected before or brings no longer lifetime.
    fn accept_token(
        &mut self,
        fetch: Box<Fetch>,
        fetched: FetchedToken,
        at: Moment<'_>,
    ) -> (Completion, Events) {
        let FetchedToken { mut token, version } = fetched;
        // C8: a fetch that began before the rejection brought the rejected token again.
        let is_rejected = |rejected: &IssuedToken| rejected.has_same_secret_as(&token);
        if fetch.began < self.last_rejection && self.rejected_token().is_some_and(is_rejected) {
            return self.refetch(fetch, at.now);
        }
        let mut events = self.clear_failures();
        events.wakes_keep_warm = true;
        events.is_recovery = mem::take(&mut self.has_failed);
        self.remember_refusals(&fetch, version, at);
        // C6: a renewal that brings no longer lifetime is repeated later.
        if let TokenState::Current(current) = &mut self.token_state {
            let is_renewal = fetch.cause == Cause::Renewal && current.standing == Standing::Good;
            if is_renewal && token.ends_no_later_than(&current.token) {
                self.consecutive_short_renewals = self.consecutive_short_renewals.saturating_add(1);
                let backoff = at.schedule.window(
                    FailureClass::Transient,
                    self.consecutive_short_renewals.into(),
                    None,
                );
                let backoff = backoff.max(current.token.remaining(at.now) / 10);
                current.renew_at = at.now.mono + backoff;
                events.event = Some(Event::NoLongerLifetime { backoff });
                return (Completion::Done(Ok(current.token.clone())), events);
            }
        }
        self.consecutive_short_renewals = 0;
        token.set_fetch(fetch.began, fetch.claims);
        self.wanted_claims.remove(token.claims());
        let token = Arc::new(token);
        let lifetime = token.access_token().lifetime();
        events.event = Some(Event::Arrived { issue: token.issue(), lifetime });
        // C7: only the waiters use a token that has expired on arrival.
        self.token_state = if token.expired_on_arrival() {
            TokenState::Absent
        } else {
            let renew_at = token.first_renewal_at();
            TokenState::Current(CurrentToken {
                token: token.clone(),
                renew_at,
                standing: Standing::Good,
            })
        };
        (Completion::Done(Ok(token)), events)
    }

    /// Retries a fetch if a rule allows it, and otherwise remembers the failure.
    fn fail_or_retry(
        &mut self,
        mut fetch: Box<Fetch>,
        failed: FetchFailure,
        at: Moment<'_>,
    ) -> (Completion, Events) {
        let is_renewal = fetch.cause == Cause::Renewal;
        let may_ask_at_once = failed.error.retry_after().is_none();
        let may_retry = may_ask_at_once && fetch.retry == Retry::Available;
        let is_outdated = is_renewal && fetch.began < self.last_rejection;
        let has_ended = is_renewal && self.current().is_none();
        let was_stalled =
            failed.timing == TaskTiming::Stalled && may_be_due_to_stall(&failed.error);
        // R7: whatever the failure is, the claims may have caused it. Callers that require them add
        // them again.
        let repeats_stalled = may_retry && was_stalled;
        if !fetch.claims.is_empty() && !repeats_stalled {
            self.wanted_claims.remove(&fetch.claims);
            if may_ask_at_once {
                return self.refetch_with_fewer_claims(fetch, failed.error);
            }
        }
        if repeats_stalled || (may_retry && (is_outdated || has_ended)) {
            // C9: without waiters, the next caller starts a fetch of its own, and nothing is
            // remembered against it.
            if has_ended && !is_outdated && fetch.waiters == Waiters::None {
                let events = Events { wakes_keep_warm: true, ..Events::default() };
                return (Completion::Done(Err(failed.error)), events);
            }
            // C8: the failure of a renewal does not delay the first fetch after a rejection.
            // C9: it does not fail callers that came after the token's end either. The timeout of a
            // stalled task says nothing about the token endpoint.
            fetch.retry = Retry::Used;
            let (completion, events) = self.refetch(fetch, at.now);
            return (completion, Events { retried_error: Some(failed.error), ..events });
        }
        let (error, events) = self.fail(failed, fetch.waiters, at);
        (Completion::Done(Err(error)), events)
    }

    /// Continues a fetch with fewer claims (R7).
    ///
    /// It keeps the claims of the last token. If these failed too, it drops all claims.
    fn refetch_with_fewer_claims(
        &mut self,
        mut fetch: Box<Fetch>,
        error: TokenError,
    ) -> (Completion, Events) {
        let carried = self.last_token().map(|token| token.claims().clone()).unwrap_or_default();
        let added = fetch.claims.without(&carried);
        let dropped = if added.is_empty() { fetch.claims.clone() } else { added };
        fetch.claims.remove(&dropped);
        fetch.dropped_claims.push(dropped);
        let completion = self.restart(fetch);
        let event = Some(Event::ClaimsRefused);
        (completion, Events { event, retried_error: Some(error), ..Events::default() })
    }

    /// Remembers which claims the token endpoint refused, once it has granted a token without them.
    fn remember_refusals(&mut self, fetch: &Fetch, version: u64, at: Moment<'_>) {
        self.refused_claims.forget_outdated(&fetch.claims, version);
        for claims in &fetch.dropped_claims {
            self.refused_claims.insert(claims.clone(), version, |times| {
                at.now.shifted_to(
                    at.now.mono + at.schedule.window(FailureClass::Permanent, times, None),
                )
            });
        }
    }

    /// Continues a fetch with another token request for the present token state and claims.
    fn refetch(&mut self, mut fetch: Box<Fetch>, now: Now) -> (Completion, Events) {
        fetch.claims = self.claims_to_request(now);
        (self.restart(fetch), Events::default())
    }

    fn restart(&mut self, mut fetch: Box<Fetch>) -> Completion {
        fetch.cause = self.cause();
        fetch.began = self.next_sequence();
        let spec = self.fetch_spec(&fetch);
        self.fetch = Some(fetch);
        Completion::Refetch(spec)
    }

    /// Removes a fetch whose task ended without a result (C3).
    ///
    /// A lost fetch is not a failure, but two panics in a row are one. The waiters then get
    /// `interrupted`.
    pub(in crate::cache) fn abandon(
        &mut self,
        lost: LostFetch,
        at: Moment<'_>,
    ) -> (Abandoned, Events) {
        self.expire_if_due(at.now);
        let Some(fetch) = self.take_fetch(lost.id) else {
            return (Abandoned::Lost, Events::default());
        };
        if lost.loss == Loss::Panicked {
            self.consecutive_panics += 1;
        }
        if self.consecutive_panics >= 2 {
            self.consecutive_panics = 0;
            let (error, timing) = (lost.interrupted, TaskTiming::OnTime);
            let failed = FetchFailure { error, version: 0, timing };
            let (error, events) = self.fail(failed, fetch.waiters, at);
            return (Abandoned::Failed(error), events);
        }
        if let TokenState::Current(current) = &mut self.token_state {
            current.renew_at = at.now.mono + LOST_RENEWAL_PAUSE;
        }
        (Abandoned::Lost, Events::waking_keep_warm(Event::Lost { loss: lost.loss }))
    }

    /// Removes a fetch that a waiter presumes dead (C3). Its result no longer changes the slot.
    pub(in crate::cache) fn supersede(&mut self, id: FetchId, now: Now) -> Events {
        self.expire_if_due(now);
        match &self.fetch {
            Some(fetch) if fetch.handle.id() == id => self.drop_dead_fetch(),
            _ => Events::default(),
        }
    }

    /// Remembers a failure for its back-off (C9).
    fn fail(
        &mut self,
        failed: FetchFailure,
        waiters: Waiters,
        Moment { now, schedule }: Moment<'_>,
    ) -> (TokenError, Events) {
        let FetchFailure { error, version, .. } = failed;
        let class = FailureClass::from_error(&error);
        let is_same_class = |failure: &Failure| FailureClass::from_error(&failure.error) == class;
        let continues_row = self.failure.as_deref().is_none_or(is_same_class);
        self.consecutive_failures =
            if continues_row { self.consecutive_failures.saturating_add(1) } else { 1 };
        let backoff = schedule.window(class, self.consecutive_failures, error.retry_after());
        let until = now.shifted_to(now.mono + backoff);
        self.has_failed = true;
        let mut failed_during = FailedDuring::Miss;
        if let TokenState::Current(current) = &mut self.token_state {
            // A whole fleet may be renewing. The pause spreads the retries, but leaves time for
            // several before the token's end.
            let pause = schedule.renewal_pause(current.token.remaining(now));
            current.renew_at = until.mono.max(now.mono + pause);
            if waiters == Waiters::None || current.standing == Standing::Good {
                failed_during = FailedDuring::Renewal;
            }
        }
        // Other credentials cannot help against a transient failure, unless the secret could not be
        // read.
        let depends_on_credentials = class == FailureClass::Permanent
            || error.kind() == TokenErrorKind::ClientAuthentication;
        let failure = Failure {
            error: error.clone(),
            until,
            version: depends_on_credentials.then_some(version),
            failed_during,
            counting: Counting::Counted,
        };
        let displaced_failure = self.failure.replace(Box::new(failure));
        let events = Events {
            failing_change: i8::from(!displaced_failure.as_deref().is_some_and(Failure::counts)),
            displaced_failure,
            event: Some(Event::Failed { error: error.clone(), backoff, failed_during }),
            wakes_keep_warm: true,
            ..Events::default()
        };
        let error = if backoff.is_zero() { error } else { error.with_retry_in(backoff) };
        (error, events)
    }
}

/// Returns whether a task that did not run may have caused the error.
fn may_be_due_to_stall(error: &TokenError) -> bool {
    matches!(
        error.kind(),
        TokenErrorKind::Transport
            | TokenErrorKind::Timeout
            | TokenErrorKind::IncompleteResponse
            | TokenErrorKind::Source
    ) || error.source().is_some_and(|source| source.is::<SecretTimeout>())
}
