//! Single flight: one task that asks for a token, and all who wait for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};
use tower::util::BoxCloneService;
use tower::{BoxError, ServiceExt};
use tracing::Instrument;

use super::schedule::Schedule;
use super::slot::{Current, Flight, Landing, Miss, Outcome, Peek, Slot};
use super::slots::Slots;
use crate::error::{TokenError, TokenErrorKind};
use crate::meter;
use crate::request::TokenRequest;
use crate::token::AccessToken;

/// Wakes those who wait for an overdue flight, once the slot's lock is given back.
struct Abandoned(Option<Flight>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let Some(flight) = &self.0 {
            flight.lose();
        }
    }
}

/// Whom to ask, when, and for whom else.
pub(super) struct Control {
    /// Locked to clone only: a source need not be `Sync`.
    source: Mutex<BoxCloneService<TokenRequest, AccessToken, BoxError>>,
    schedule: Schedule,
    pub(super) others: Slots,
}

impl Control {
    pub(super) fn new(
        source: BoxCloneService<TokenRequest, AccessToken, BoxError>,
        schedule: Schedule,
        others: Slots,
    ) -> Self {
        Self { source: Mutex::new(source), schedule, others }
    }

    async fn ask(
        &self,
        request: TokenRequest,
        deadline: Instant,
    ) -> Result<AccessToken, TokenError> {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let credentials = request.credentials().clone();
        let is_to_be_bound = credentials.dpop_key().is_some();
        let result = match timeout_at(deadline, source.oneshot(request)).await {
            Ok(Ok(token)) if token.is_dpop() != is_to_be_bound => {
                Err(TokenError::token_type(token.token_type()))
            }
            Ok(result) => result.map_err(TokenError::from_source),
            Err(elapsed) => Err(TokenError::with_source(TokenErrorKind::Timeout, elapsed.into())),
        };
        result.map_err(|error| error.at_least_at(credentials.token_endpoint_origin()))
    }
}

impl Slot {
    /// A token: the one that is there, or the one that the flight brings which this caller starts or
    /// finds on its way.
    pub(super) async fn get(self: &Arc<Self>, control: &Arc<Control>) -> Outcome {
        let mut lost = 0;
        let mut outdated = 0;
        loop {
            let flight = match self.look(control, lost > 0)? {
                Ok(current) => return Ok(current),
                Err(flight) => flight,
            };
            match flight.wait().await {
                // It may have been rejected before this caller came to run; but not for ever.
                Some(Ok(current)) if outdated < 2 && !self.stands_by(&current) => outdated += 1,
                Some(outcome) => return outcome,
                None if lost > 0 => return Err(self.error(TokenErrorKind::Interrupted)),
                None => lost += 1,
            }
        }
    }

    /// The token that is there, or the flight to wait for.
    fn look(
        self: &Arc<Self>,
        control: &Arc<Control>,
        is_takeover: bool,
    ) -> Result<Result<Arc<Current>, Flight>, TokenError> {
        match self.peek(Instant::now()) {
            Peek::Hit(hit) => return Ok(Ok(hit.into_current())),
            Peek::Due(hit) => {
                self.renew(control, hit.number());
                return Ok(Ok(hit.into_current()));
            }
            Peek::Miss => {}
        }
        loop {
            let mut abandoned = Abandoned(None);
            let mut state = self.lock();
            abandoned.0 = state.take_overdue(Instant::now());
            match self.miss(&state) {
                Miss::Landed(current) => return Ok(Ok(current)),
                Miss::Wait(flight) => return Ok(Err(flight)),
                Miss::Remembered(error) => return Err(error),
                Miss::RememberedFor(version, error) => {
                    drop(state);
                    if self.credentials().version() == version {
                        return Err(error);
                    }
                    self.forgive(version);
                }
                Miss::Board(request) => {
                    let Ok(runtime) = Handle::try_current() else {
                        return Err(self.error(TokenErrorKind::NoRuntime));
                    };
                    let (pilot, flight) = self.board(control, is_takeover);
                    state.flight = Some(flight.clone());
                    drop(state);
                    pilot.take_off(&runtime, request);
                    return Ok(Err(flight));
                }
            }
        }
    }

    /// Starts the renewal of the token of this number, unless it is no longer the current one or a flight is
    /// on its way.
    pub(super) fn renew(self: &Arc<Self>, control: &Arc<Control>, number: u64) {
        let Ok(runtime) = Handle::try_current() else {
            // Called outside of any runtime, as a hit may be: a later caller sees to it.
            self.put_off_renewal(number, Duration::from_secs(1));
            return;
        };
        let mut state = self.lock();
        if let Some(request) = self.renewal(&state, number) {
            let (pilot, flight) = self.board(control, false);
            state.flight = Some(flight);
            drop(state);
            pilot.take_off(&runtime, request);
        }
    }

    /// Starts to fetch a token, if there is none and nothing stands against it.
    pub(super) fn prefetch(self: &Arc<Self>, control: &Arc<Control>) {
        drop(self.look(control, false));
    }

    fn board(self: &Arc<Self>, control: &Arc<Control>, is_takeover: bool) -> (Pilot, Flight) {
        let flight = Flight::new(Instant::now() + control.schedule.fetch_timeout);
        let pilot = Pilot {
            slot: Some(self.clone()),
            control: control.clone(),
            flight: flight.clone(),
            is_takeover,
        };
        (pilot, flight)
    }
}

/// Sees a flight home. However it ends, the slot is left without it.
struct Pilot {
    /// Until it is down.
    slot: Option<Arc<Slot>>,
    control: Arc<Control>,
    flight: Flight,
    is_takeover: bool,
}

impl Pilot {
    /// Not under the slot's lock: a runtime that shuts down drops the task, and with it the pilot,
    /// right here.
    fn take_off(self, runtime: &Handle, request: TokenRequest) {
        // It outlives the request that it begins for.
        let span = tracing::debug_span!(
            parent: None,
            "token_request",
            endpoint = %request.credentials().token_endpoint_origin(),
            cause = ?request.cause(),
        );
        span.follows_from(tracing::Span::current());
        runtime.spawn(self.fly(request).instrument(span));
    }

    async fn fly(mut self, mut request: TokenRequest) {
        let Some(slot) = self.slot.clone() else {
            return;
        };
        loop {
            tracing::debug!(cause = ?request.cause(), "token is asked for");
            let version = slot.credentials().version();
            let asked = meter::Asked::begin(meter::Whom::Source, &request);
            let result = self.control.ask(request.clone(), self.flight.deadline()).await;
            asked.end(&result);
            match slot.land(self.flight.id(), &request, version, result, &self.control.schedule) {
                Landing::Again(again) => request = again,
                Landing::Down(outcome) => {
                    self.slot = None;
                    self.flight.land(outcome);
                    break;
                }
            }
        }
        self.control.others.release(slot);
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            // The slot is cleared first, so that whoever takes over finds it free.
            let error = slot.error(TokenErrorKind::Interrupted);
            slot.lose(self.flight.id(), error, self.is_takeover, &self.control.schedule);
            self.flight.lose();
            self.control.others.release(slot);
        }
    }
}
