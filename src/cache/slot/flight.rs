//! A token request that is on its way, as those see it who wait for it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::current::Current;
use crate::error::TokenError;

static IDS: AtomicU64 = AtomicU64::new(1);

/// How much longer than its deadline a flight is waited for, which it keeps itself if it is driven.
const GRACE: Duration = Duration::from_secs(1);

pub(in crate::cache) type Outcome = Result<Arc<Current>, TokenError>;

/// A token request that is on its way, for those who wait for it.
#[derive(Clone)]
pub(in crate::cache) struct Flight {
    id: u64,
    deadline: Instant,
    stage: watch::Sender<Stage>,
}

#[derive(Clone)]
enum Stage {
    InAir,
    Down(Outcome),
    /// The task panicked, its runtime went away, or nobody drives it.
    Lost,
}

impl Flight {
    pub(in crate::cache) fn new(deadline: Instant) -> Self {
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        Self { id, deadline, stage: watch::Sender::new(Stage::InAir) }
    }

    pub(in crate::cache) fn id(&self) -> u64 {
        self.id
    }

    pub(in crate::cache) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        now > self.deadline + GRACE
    }

    /// What it brought; nothing when it was lost.
    pub(in crate::cache) async fn wait(&self) -> Option<Outcome> {
        let mut stage = self.stage.subscribe();
        let stage = stage.wait_for(|stage| !matches!(stage, Stage::InAir)).await;
        match stage.as_deref() {
            Ok(Stage::Down(outcome)) => Some(outcome.clone()),
            _ => None,
        }
    }

    pub(in crate::cache) fn land(&self, outcome: Outcome) {
        self.stage.send_replace(Stage::Down(outcome));
    }

    pub(in crate::cache) fn lose(&self) {
        self.stage.send_replace(Stage::Lost);
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flight({})", self.id)
    }
}
