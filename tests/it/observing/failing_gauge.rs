//! The gauge of credentials whose source is not asked because of a failure.

use std::time::Duration;

use tokio::time::{advance, sleep};
use tower_oauth2::source::Backoff;
use tower_oauth2::{TokenCache, Tokens};

use crate::support::*;

const FAILING: &str = "tower_oauth2.failing_credentials";
/// The time after a back-off for which credentials still count.
const MARGIN: Duration = secs(60);

/// Returns the changes of the gauge since the last call.
fn changes(meter: &Meter) -> Vec<String> {
    let lines = meter.take_of(FAILING);
    lines.into_iter().map(|line| line.trim_start_matches("{} ").to_owned()).collect()
}

/// Creates a source that fails until it is asked for the `n`th time.
fn failing_until(n: usize) -> ScriptedSource {
    ScriptedSource::new(move |asked, _| async move {
        if asked < n { Err("the source is down".into()) } else { Ok(hour(asked)) }
    })
}

/// Builds a cache whose back-off lasts for 10 s.
fn cache(source: &ScriptedSource) -> TokenCache {
    builder(source).transient_backoff(Backoff::new(secs(10), secs(10))).build()
}

/// Moves the clock in steps, so that each task runs when it is due.
async fn pass(time: Duration) {
    sleep(time).await;
    settle().await;
}

// O, C9
#[tokio::test(start_paused = true)]
async fn the_gauge_comes_down_without_further_requests() {
    let (meter, _guard) = Meter::start();
    let tokens = cache(&failing_until(usize::MAX)).tokens(&credentials());
    tokens.get().await.unwrap_err();
    assert_eq!(changes(&meter), ["1"]);
    pass(secs(10) + MARGIN - ms(200)).await;
    assert!(changes(&meter).is_empty(), "the margin is not over");
    pass(ms(400)).await;
    assert_eq!(changes(&meter), ["-1"]);
    assert!(tokens.status().error().is_some(), "the failure is still known");

    // The next failure counts again.
    tokens.get().await.unwrap_err();
    assert_eq!(changes(&meter), ["1"]);
    pass(secs(200)).await;
    assert_eq!(changes(&meter), ["-1"]);
}

// O, C9
#[tokio::test(start_paused = true)]
async fn the_gauge_stays_up_while_callers_ask_and_fail() {
    let (meter, _guard) = Meter::start();
    let tokens = cache(&failing_until(usize::MAX)).tokens(&credentials());
    for _ in 0..20 {
        tokens.get().await.unwrap_err();
        pass(secs(40)).await;
    }
    assert_eq!(changes(&meter), ["1"]);
    pass(secs(60)).await;
    assert_eq!(changes(&meter), ["-1"]);
}

// O, C9: a fetch may take longer than the margin.
#[tokio::test(start_paused = true)]
async fn the_gauge_stays_up_during_the_next_fetch() {
    let (meter, _guard) = Meter::start();
    let source = ScriptedSource::new(|n, _| async move {
        if n > 1 {
            sleep(secs(300)).await;
        }
        Err("the source is down".into())
    });
    let tokens = cache(&source).tokens(&credentials());
    tokens.get().await.unwrap_err();
    advance(secs(20)).await;
    tokens.get().await.unwrap_err();
    assert_eq!(changes(&meter), ["1"]);
}

// O, C10
#[tokio::test(start_paused = true)]
async fn each_failing_tenant_is_subtracted_once() {
    let (meter, _guard) = Meter::start();
    let source = failing_until(usize::MAX);
    let cache =
        builder(&source).transient_backoff(Backoff::new(secs(10), secs(10))).capacity(2).build();
    for n in 0..5 {
        get_for(&cache, &tenant(n)).await.unwrap_err();
        pass(secs(1)).await;
    }
    let total = || changes(&meter).iter().map(|change| change.parse::<f64>().unwrap()).sum::<f64>();
    assert_eq!(total(), 2.0, "evicted slots do not count");
    pass(secs(10) + MARGIN).await;
    assert_eq!(total(), -2.0, "the back-offs have ended");
    for n in 0..5 {
        get_for(&cache, &tenant(n)).await.unwrap_err();
    }
    cache.remove(&tenant(4));
    drop(cache);
    pass(secs(200)).await;
    assert_eq!(total(), 0.0);
}

// O, C9
#[tokio::test(start_paused = true)]
async fn a_success_brings_the_gauge_down_at_once() {
    let (meter, _guard) = Meter::start();
    let tokens = Tokens::new(credentials(), failing_until(2));
    tokens.get().await.unwrap_err();
    pass(secs(11)).await;
    tokens.get().await.unwrap();
    assert_eq!(changes(&meter), ["1", "-1"]);
    pass(secs(200)).await;
    assert!(changes(&meter).is_empty());
}
