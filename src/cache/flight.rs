//! Single flight: one task that asks for a token, and all who wait for it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tower::util::BoxCloneService;
use tower::{BoxError, ServiceExt};
use tracing::Instrument;

use super::schedule::Schedule;
use super::slot::{Current, Landing, Miss, Peek, Slot};
use crate::error::{TokenError, TokenErrorKind};
use crate::request::TokenRequest;
use crate::token::AccessToken;

static IDS: AtomicU64 = AtomicU64::new(1);

type Outcome = Result<Arc<Current>, TokenError>;

/// A token request that is on its way, for those who wait for it.
///
/// The channel closes without an outcome when the task panicked or its runtime went away.
#[derive(Clone)]
pub(super) struct Flight {
    id: u64,
    outcome: watch::Receiver<Option<Outcome>>,
}

impl Flight {
    pub(super) fn id(&self) -> u64 {
        self.id
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flight({})", self.id)
    }
}

/// Whom to ask, and when.
pub(super) struct Control {
    /// Locked to clone only: a source need not be `Sync`.
    source: Mutex<BoxCloneService<TokenRequest, AccessToken, BoxError>>,
    pub(super) schedule: Schedule,
}

impl Control {
    pub(super) fn new(
        source: BoxCloneService<TokenRequest, AccessToken, BoxError>,
        schedule: Schedule,
    ) -> Self {
        Self { source: Mutex::new(source), schedule }
    }

    async fn ask(&self, request: TokenRequest) -> Result<AccessToken, TokenError> {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match timeout(self.schedule.fetch_timeout, source.oneshot(request)).await {
            Ok(result) => result.map_err(TokenError::from_source),
            Err(elapsed) => Err(TokenError::with_source(TokenErrorKind::Timeout, elapsed.into())),
        }
    }
}

impl Slot {
    /// A token: the one that is there, or the one that the flight brings which this caller starts or
    /// finds on its way.
    pub(super) async fn get(self: &Arc<Self>, control: &Arc<Control>) -> Outcome {
        let mut lost = 0;
        let mut outdated = 0;
        loop {
            let mut flight = match self.look(control, lost > 0)? {
                Ok(current) => return Ok(current),
                Err(flight) => flight,
            };
            let outcome = match flight.outcome.wait_for(Option::is_some).await {
                Ok(outcome) => outcome.clone(),
                Err(_) => None,
            };
            match outcome {
                // It may have been rejected before this caller came to run; but not for ever.
                Some(Ok(current)) if outdated < 2 && !self.stands_by(&current) => outdated += 1,
                Some(outcome) => return outcome,
                None if lost > 0 => return Err(interrupted()),
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
                self.renew(control);
                return Ok(Ok(hit.into_current()));
            }
            Peek::Miss => {}
        }
        loop {
            let mut state = self.lock();
            match self.miss(&state) {
                Miss::Landed(current) => return Ok(Ok(current)),
                Miss::Wait(flight) => return Ok(Err(flight)),
                Miss::Remembered(error) => return Err(error),
                Miss::RememberedFor(version, error) => {
                    drop(state);
                    if self.credentials().auth().version() == version {
                        return Err(error);
                    }
                    self.forgive(version);
                }
                Miss::Board(request) => {
                    let Ok(runtime) = Handle::try_current() else {
                        return Err(TokenError::new(TokenErrorKind::NoRuntime, ""));
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

    /// Starts a renewal, unless one is on its way or there is nothing to renew.
    pub(super) fn renew(self: &Arc<Self>, control: &Arc<Control>) {
        let Ok(runtime) = Handle::try_current() else {
            // Called outside of any runtime, as a hit may be: a later caller sees to it.
            self.put_off_renewal(std::time::Duration::from_secs(1));
            return;
        };
        let mut state = self.lock();
        if let Some(request) = self.renewal(&state) {
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
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        let (sender, outcome) = watch::channel(None);
        let pilot = Pilot {
            slot: self.clone(),
            control: control.clone(),
            id,
            is_takeover,
            has_landed: false,
            outcome: sender,
        };
        (pilot, Flight { id, outcome })
    }
}

/// Sees a flight home. However it ends, the slot is left without it.
struct Pilot {
    slot: Arc<Slot>,
    control: Arc<Control>,
    id: u64,
    is_takeover: bool,
    has_landed: bool,
    /// Closed after `drop` has cleared the slot, so that whoever takes over finds it free.
    outcome: watch::Sender<Option<Outcome>>,
}

impl Pilot {
    /// Not under the slot's lock: a runtime that shuts down drops the task, and with it the pilot,
    /// right here.
    fn take_off(self, runtime: &Handle, request: TokenRequest) {
        let span = tracing::debug_span!(
            "token_request",
            endpoint = %request.credentials().token_endpoint_origin(),
            cause = ?request.cause(),
        );
        runtime.spawn(self.fly(request).instrument(span));
    }

    async fn fly(mut self, mut request: TokenRequest) {
        loop {
            tracing::debug!(cause = ?request.cause(), "token is asked for");
            let version = self.slot.credentials().auth().version();
            let result = self.control.ask(request.clone()).await;
            match self.slot.land(self.id, &request, version, result, &self.control.schedule) {
                Landing::Again(again) => request = again,
                Landing::Down(outcome) => {
                    self.has_landed = true;
                    self.outcome.send_replace(Some(outcome));
                    return;
                }
            }
        }
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        if !self.has_landed {
            let schedule = &self.control.schedule;
            self.slot.lose(self.id, interrupted(), self.is_takeover, schedule);
        }
    }
}

fn interrupted() -> TokenError {
    TokenError::new(TokenErrorKind::Interrupted, "")
}
