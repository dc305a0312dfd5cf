//! Fetches a token once for all waiters, in its own task (C2, C3, C4).

use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument;

use super::claims::Claims;
use super::issued::IssuedToken;
use super::machine::{
    Abandoned, Completion, Events, FetchResult, FetchSpec, FetchStart, Loss, LostFetch, Moment,
    Requirements, Step, TaskTiming, TickOutcome,
};
use super::slot::{Lookup, Slot};
use super::slot_handle::SlotHandle;
use crate::credentials::Credentials;
use crate::credentials::request::TokenRequest;
use crate::error::{TokenError, TokenErrorKind};
use crate::metrics::{FetchTimer, Measured};
use crate::token::AccessToken;
use crate::util::clock::Now;
use crate::util::liveness::Liveness;
use crate::util::printable::Printable;
use crate::util::runtime;

/// The number of a fetch, unique in the process.
pub(super) type FetchId = u64;
/// The result of a fetch, for all its waiters.
pub(super) type FetchOutcome = Result<Arc<IssuedToken>, TokenError>;

static FETCHES: AtomicU64 = AtomicU64::new(1);

/// The number of lost fetches that a caller itself may start before it fails (C3).
const MAX_OWN_LOSSES: u32 = 2;
/// The number of completed fetches without the required claims after which a waiter drops them.
const MAX_MISSED_CLAIMS: u32 = 2;
/// Limits the tokens that are rejected in a row before a waiter uses one.
const MAX_REJECTED_TOKENS: u32 = 8;

/// Connects a running fetch with its waiters and with the machine.
#[derive(Clone)]
pub(super) struct FetchHandle {
    id: FetchId,
    liveness: Arc<Liveness>,
    progress: watch::Sender<FetchProgress>,
}

#[derive(Clone)]
enum FetchProgress {
    Running,
    Done(FetchOutcome),
    /// The fetch ended without a result, or was presumed dead. Waiters ask the machine again.
    Lost,
}

/// Tells a waiter how a fetch ended.
enum WaitOutcome {
    Done(FetchOutcome),
    Lost,
    /// The fetch shows no sign of life.
    Silent,
}

impl FetchHandle {
    pub(super) fn new() -> Self {
        Self {
            id: FETCHES.fetch_add(1, Ordering::Relaxed),
            liveness: Arc::default(),
            progress: watch::Sender::new(FetchProgress::Running),
        }
    }

    pub(super) fn id(&self) -> FetchId {
        self.id
    }

    pub(super) fn liveness(&self) -> &Arc<Liveness> {
        &self.liveness
    }

    fn complete(&self, outcome: FetchOutcome) {
        self.progress.send_replace(FetchProgress::Done(outcome));
    }

    fn mark_lost(&self) {
        self.progress.send_replace(FetchProgress::Lost);
    }

    /// Waits until the fetch ends or shows no sign of life.
    async fn wait(&self) -> WaitOutcome {
        let mut progress = self.progress.subscribe();
        let is_over = |progress: &FetchProgress| !matches!(progress, FetchProgress::Running);
        let mut over = pin!(progress.wait_for(is_over));
        let mut silence = pin!(self.liveness.silence());
        poll_fn(|cx| {
            if let Poll::Ready(progress) = over.as_mut().poll(cx) {
                return Poll::Ready(match progress.as_deref() {
                    Ok(FetchProgress::Done(outcome)) => WaitOutcome::Done(outcome.clone()),
                    _ => WaitOutcome::Lost,
                });
            }
            silence.as_mut().poll(cx).map(|()| WaitOutcome::Silent)
        })
        .await
    }
}

impl fmt::Debug for FetchHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FetchHandle({})", self.id)
    }
}

/// A token, or the fetch that the caller waits for.
enum TokenOrFetch {
    Token(Arc<IssuedToken>),
    /// Another caller started this fetch.
    RunningFetch(FetchHandle),
    /// This caller started this fetch.
    OwnFetch(FetchHandle),
    /// The remembered error of credentials with this version.
    FailedFor(u64, TokenError),
}

/// A [`Step`] together with the fetch task that it needs.
enum PreparedStep {
    Use(Arc<IssuedToken>),
    UseAndFetch(Arc<IssuedToken>, FetchTask),
    Join(FetchHandle),
    Fetch(FetchTask),
    NoRuntime,
    Fail(TokenError),
    FailFor(u64, TokenError),
    ClaimsRefused,
}

impl Slot {
    /// Returns a token that satisfies `required`: the current one, or a fetched one.
    pub(super) async fn get(self: &Arc<Self>, mut required: Requirements) -> FetchOutcome {
        let mut own_losses = 0;
        let mut rejected_tokens = 0;
        let mut missed_claims = 0;
        loop {
            let (handle, is_own) = match self.token_or_fetch(&mut required)? {
                TokenOrFetch::Token(token) => return Ok(token),
                TokenOrFetch::RunningFetch(handle) => (handle, false),
                TokenOrFetch::OwnFetch(handle) => (handle, true),
                TokenOrFetch::FailedFor(version, error) => {
                    // Reading the version runs a caller's code, so it happens without the lock.
                    if self.credentials().current_version().await == version {
                        return Err(error);
                    }
                    self.update(|machine, _| ((), machine.clear_failure(version)));
                    continue;
                }
            };
            match handle.wait().await {
                WaitOutcome::Done(Ok(token)) => {
                    let has_claims = token.claims().covers(&required.claims);
                    missed_claims += u32::from(!has_claims);
                    // R7: the first fetch may have begun before the claims were required. If the
                    // second one lacks them too, the request is resent without them.
                    if missed_claims == MAX_MISSED_CLAIMS {
                        required.claims = Claims::default();
                    }
                    if self.may_use(&token, &required) {
                        return Ok(token);
                    }
                    // The token was rejected before this task ran. A caller that rejects every
                    // token must not make the others wait without end.
                    rejected_tokens += u32::from(has_claims);
                    if rejected_tokens == MAX_REJECTED_TOKENS {
                        return Err(self.error(TokenErrorKind::Rejected));
                    }
                }
                WaitOutcome::Done(Err(error)) => return self.fallback(&required).ok_or(error),
                WaitOutcome::Lost => {
                    // C3: a caller takes over the lost fetches of others without limit. After it
                    // has lost two of its own, its runtime does not work, and another try could
                    // loop within one poll.
                    own_losses += u32::from(is_own);
                    if own_losses == MAX_OWN_LOSSES {
                        return Err(self.error(TokenErrorKind::Interrupted));
                    }
                }
                WaitOutcome::Silent => {
                    // The slot is cleared before the other waiters learn of the loss, so that the
                    // first of them can start a fetch.
                    self.update(|machine, now| ((), machine.supersede(handle.id(), now)));
                    handle.mark_lost();
                }
            }
        }
    }

    /// Starts a fetch if `required` needs one, without waiting for it.
    pub(super) fn prefetch(self: &Arc<Self>, required: &Requirements) {
        self.update(|machine, _| (machine.withdraw_suspect(required), Events::default()));
        // A failure is remembered in the slot, and the next caller gets it.
        drop(self.token_or_fetch(&mut required.clone()));
    }

    /// Asks the machine for the next step, and spawns the fetch that it starts.
    fn token_or_fetch(
        self: &Arc<Self>,
        required: &mut Requirements,
    ) -> Result<TokenOrFetch, TokenError> {
        if let Some(token) = self.hit(required) {
            return Ok(TokenOrFetch::Token(token));
        }
        // The runtime is looked up before the lock, because that runs tokio's code.
        let runtime = runtime::current();
        loop {
            let new_handle = || runtime.as_ref().map(|_| FetchHandle::new());
            let step = self.update(|machine, now| {
                let (step, events) = machine.next_step(required, new_handle, now);
                // The task is created under the lock. From here on, its `Drop` clears the slot if
                // the task does not run to its end.
                (PreparedStep::new(step, self), events)
            });
            // The task is spawned after the lock is released: a runtime that shuts down drops the
            // task at once, which locks the slot again.
            match (step, &runtime) {
                (PreparedStep::Use(token), _) => return Ok(TokenOrFetch::Token(token)),
                (PreparedStep::Join(handle), Some(_)) => {
                    return Ok(TokenOrFetch::RunningFetch(handle));
                }
                (PreparedStep::Fetch(task), Some(runtime)) => {
                    return Ok(TokenOrFetch::OwnFetch(task.spawn(runtime)));
                }
                (PreparedStep::UseAndFetch(token, task), Some(runtime)) => {
                    task.spawn(runtime);
                    return Ok(TokenOrFetch::Token(token));
                }
                (PreparedStep::Fail(error), _) => return Err(error),
                (PreparedStep::FailFor(version, error), _) => {
                    return Ok(TokenOrFetch::FailedFor(version, error));
                }
                // R7: the request is resent without the claims.
                (PreparedStep::ClaimsRefused, _) => required.claims = Claims::default(),
                // Callers that wait for the fetch need a timer too.
                (PreparedStep::NoRuntime, _) | (_, None) => {
                    return Err(self.error(TokenErrorKind::NoRuntime));
                }
            }
        }
    }

    /// Returns the published token if it satisfies `required`, and starts a renewal that is due.
    pub(super) fn hit(self: &Arc<Self>, required: &Requirements) -> Option<Arc<IssuedToken>> {
        let satisfies =
            |token: &IssuedToken| token.satisfies(required.newer_than, &required.claims);
        match self.lookup(Instant::now()) {
            Lookup::Hit(hit) => satisfies(hit.token()).then(|| hit.token().clone()),
            Lookup::HitAndTick(hit) => {
                let token = hit.token().clone();
                drop(hit);
                self.tick();
                satisfies(&token).then_some(token)
            }
            Lookup::Miss => None,
        }
    }

    /// Lets the machine check the published token, and spawns a renewal if one is due.
    #[cold]
    pub(super) fn tick(self: &Arc<Self>) {
        let runtime = runtime::current();
        let new_handle = || runtime.as_ref().map(|_| FetchHandle::new());
        let renewal = self.update(|machine, now| {
            let (outcome, events) = machine.tick(new_handle, now);
            let renewal = match outcome {
                TickOutcome::Renew(start) => Some(FetchTask::new(self, start)),
                TickOutcome::Usable | TickOutcome::Expired => None,
            };
            (renewal, events)
        });
        if let (Some(task), Some(runtime)) = (renewal, runtime) {
            task.spawn(&runtime);
        }
    }

    /// Issues a token of this slot.
    pub(super) fn issue(self: &Arc<Self>, token: AccessToken) -> IssuedToken {
        let schedule = &self.fetcher().schedule;
        IssuedToken::new(token, self.credentials(), schedule, Now::read()).in_slot(self)
    }

    fn token_request(&self, spec: &FetchSpec) -> TokenRequest {
        let request = TokenRequest::new(self.credentials().clone());
        let request = match &spec.previous {
            Some(previous) => request.with_token(previous.access_token().clone(), spec.cause),
            None => request,
        };
        match spec.claims.to_parameter() {
            Some(claims) => request.with_claims(claims),
            None => request,
        }
    }
}

impl PreparedStep {
    fn new(step: Step, slot: &Arc<Slot>) -> Self {
        match step {
            Step::Use(token) => Self::Use(token),
            Step::UseAndFetch(token, start) => {
                Self::UseAndFetch(token, FetchTask::new(slot, start))
            }
            Step::Join(handle) => Self::Join(handle),
            Step::Fetch(start) => Self::Fetch(FetchTask::new(slot, start)),
            Step::NoRuntime => Self::NoRuntime,
            Step::Fail(error) => Self::Fail(error),
            Step::FailFor(version, error) => Self::FailFor(version, error),
            Step::ClaimsRefused => Self::ClaimsRefused,
        }
    }
}

/// Runs a fetch. Clears the slot if it is dropped before the fetch is complete.
struct FetchTask {
    /// `None` once the fetch is complete.
    slot: Option<SlotHandle>,
    handle: FetchHandle,
    spec: FetchSpec,
    loss: Loss,
}

impl FetchTask {
    fn new(slot: &Arc<Slot>, start: FetchStart) -> Self {
        Self {
            slot: Some(SlotHandle::new(slot)),
            handle: start.handle,
            spec: start.spec,
            loss: Loss::RuntimeEnded,
        }
    }

    /// Spawns the task. The caller must not hold the slot's lock.
    fn spawn(self, runtime: &Handle) -> FetchHandle {
        let handle = self.handle.clone();
        let credentials = self.slot.as_ref().map(|slot| slot.credentials());
        // The span has no parent, because it outlives the request that it begins for.
        let span = tracing::debug_span!(
            parent: None,
            "token_request",
            endpoint = credentials.map(|of| display(Printable(of.server()))),
            label = credentials.and_then(Credentials::label_field),
            cause = ?self.spec.cause,
        );
        span.follows_from(tracing::Span::current());
        runtime.spawn(self.run().instrument(span));
        handle
    }

    async fn run(mut self) {
        let Some(slot) = self.slot.clone() else {
            return;
        };
        let schedule = &slot.fetcher().schedule;
        loop {
            let Requested { version, result } = match self.request_token(&slot).await {
                Ok(requested) => requested,
                Err(panic) => {
                    self.loss = Loss::Panicked;
                    drop(self);
                    resume_unwind(panic);
                }
            };
            let timing = match self.handle.liveness.has_stalled() {
                true => TaskTiming::Stalled,
                false => TaskTiming::OnTime,
            };
            // The token is built before locking: that takes an issue number, jitter and the clocks.
            let issue = |token| slot.issue(token);
            let result = result.map(issue);
            let fetched = FetchResult { id: self.handle.id(), result, version, timing };
            let completion =
                slot.end_fetch(|machine, now| machine.complete(fetched, Moment { now, schedule }));
            match completion {
                // The task keeps its handle, so the waiters keep waiting.
                Completion::Refetch(next) => self.spec = next,
                // The slot may be cleared while callers wait. They need a token, and this failure
                // is not the slot's any more, so they ask the machine again.
                Completion::Superseded(Err(_)) => {
                    self.slot = None;
                    self.handle.mark_lost();
                    return;
                }
                Completion::Done(outcome) | Completion::Superseded(outcome) => {
                    self.slot = None;
                    self.handle.complete(outcome);
                    return;
                }
            }
        }
    }

    /// Sends one token request, and shows beats until it is answered.
    ///
    /// Returns the payload if the source panics. `Drop` cannot tell whether a panic dropped the
    /// task, because a thread that unwinds may drop a whole runtime.
    async fn request_token(&self, slot: &Slot) -> Result<Requested, Box<dyn Any + Send>> {
        let liveness = &self.handle.liveness;
        let mut work = pin!(async {
            let request = slot.token_request(&self.spec).with_liveness(liveness.clone());
            let credentials = slot.credentials();
            let label = credentials.label_field();
            tracing::debug!(label, cause = ?request.cause(), "token is requested");
            slot.warn_of_settings();
            let version = credentials.current_version().await;
            let timer = FetchTimer::start(Measured::Fetch, &request);
            let timer = timer.with_label(slot.fetcher().metric_labels.of(credentials));
            let result = slot.fetcher().call(request).await;
            timer.finish(&result);
            if let Ok(token) = &result {
                slot.warn_of_scope(token);
            }
            Requested { version, result }
        });
        let caught = poll_fn(|cx: &mut Context<'_>| {
            match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
                Ok(polled) => polled.map(Ok),
                Err(panic) => Poll::Ready(Err(panic)),
            }
        });
        liveness.during(caught).await
    }
}

/// The answer to one token request.
struct Requested {
    /// The version of the credentials before the request was sent.
    version: u64,
    result: Result<AccessToken, TokenError>,
}

impl Drop for FetchTask {
    fn drop(&mut self) {
        let Some(slot) = self.slot.take() else {
            return;
        };
        let interrupted = slot.error(TokenErrorKind::Interrupted);
        let lost = LostFetch { id: self.handle.id(), loss: self.loss, interrupted };
        let schedule = &slot.fetcher().schedule;
        // The slot is cleared before the waiters learn of the loss, so that the first of them can
        // start a fetch on its own runtime.
        match slot.end_fetch(|machine, now| machine.abandon(lost, Moment { now, schedule })) {
            Abandoned::Failed(error) => self.handle.complete(Err(error)),
            Abandoned::Lost => self.handle.mark_lost(),
        }
    }
}
