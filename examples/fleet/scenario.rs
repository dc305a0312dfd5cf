//! The scenarios: the clients of the processes, one row of the tables each.

use std::iter::repeat_with;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use tokio::runtime::Builder;

use crate::clients::{Client, On401, OnExpiry, Ours};
use crate::day::{Day, Plan};
use crate::figures::Figures;
use crate::simulation;
use crate::store::CountedStore;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    Jitter,
    JitterStore,
    Fixed,
    FixedStore,
    OnExpiry,
    On401,
}

impl Scenario {
    pub(crate) const ALL: [Self; 6] = [
        Self::Jitter,
        Self::JitterStore,
        Self::Fixed,
        Self::FixedStore,
        Self::OnExpiry,
        Self::On401,
    ];

    pub(crate) fn named(name: &str) -> Result<Self, &'static str> {
        let found = Self::ALL.into_iter().find(|scenario| scenario.name() == name);
        found.ok_or("unknown scenario, see --help")
    }

    fn name(self) -> &'static str {
        match self {
            Self::Jitter => "jitter",
            Self::JitterStore => "jitter-store",
            Self::Fixed => "fixed",
            Self::FixedStore => "fixed-store",
            Self::OnExpiry => "on-expiry",
            Self::On401 => "on-401",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Jitter => "tower-oauth2",
            Self::JitterStore => "tower-oauth2, shared store",
            Self::Fixed => "tower-oauth2, a minute ahead",
            Self::FixedStore => "tower-oauth2, a minute ahead, shared store",
            Self::OnExpiry => "by hand, fetch on expiry",
            Self::On401 => "by hand, fetch on 401",
        }
    }

    /// Returns the class of the columns in the picture, which gives them their colour.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Jitter | Self::JitterStore => "default",
            Self::Fixed | Self::FixedStore => "ahead",
            Self::OnExpiry | Self::On401 => "by-hand",
        }
    }

    /// Returns whether the clients use this crate, which reports the causes of token requests.
    pub(crate) fn has_cache(self) -> bool {
        !matches!(self, Self::OnExpiry | Self::On401)
    }

    fn run(self, plan: &Plan) -> Figures {
        // `fastrand::seed` is per thread. A scenario runs on one thread, so it is reproducible.
        fastrand::seed(plan.seed);
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a current-thread runtime without I/O can be built").block_on(async {
            let day = Day::new(plan);
            match self {
                Self::Jitter => simulate(&day, || ours(&day, true, None)).await,
                Self::Fixed => simulate(&day, || ours(&day, false, None)).await,
                Self::JitterStore => {
                    let store = CountedStore::new(&day);
                    simulate(&day, || ours(&day, true, Some(&store))).await;
                }
                Self::FixedStore => {
                    let store = CountedStore::new(&day);
                    simulate(&day, || ours(&day, false, Some(&store))).await;
                }
                Self::OnExpiry => simulate(&day, || OnExpiry::new(&day)).await,
                Self::On401 => simulate(&day, || On401::new(&day)).await,
            }
            Figures::of(self, &day)
        })
    }
}

fn ours(day: &Arc<Day>, has_jitter: bool, store: Option<&CountedStore>) -> Ours {
    Ours::new(day, has_jitter, store.cloned()).expect("the URLs are valid constants")
}

async fn simulate<C: Client>(day: &Arc<Day>, process: impl FnMut() -> C) {
    let processes = repeat_with(process).take(day.plan.processes as usize).collect();
    simulation::run(day, processes).await;
}

/// Runs all scenarios, on as many threads as there are processors.
pub(crate) fn run(scenarios: &[Scenario], plan: &Plan) -> Vec<Figures> {
    let figures: Vec<_> = scenarios.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZeroUsize::get) {
            scope.spawn(|| {
                while let Some((scenario, figures)) = {
                    let next = next.fetch_add(1, Ordering::Relaxed);
                    scenarios.get(next).zip(figures.get(next))
                } {
                    figures.get_or_init(|| scenario.run(plan));
                }
            });
        }
    });
    figures.into_iter().filter_map(OnceLock::into_inner).collect()
}
