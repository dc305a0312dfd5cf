//! Measures the latency of callers while their token is replaced, under a steady load.

use std::time::{Duration, Instant};

use http::Request;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tower::{BoxError, Service, ServiceExt};

use super::issuer::{Issued, Issuer};
use super::picture::{Axis, Panel, Series, draw};
use crate::cases::by_hand::{Mutexed, RwLocked};
use crate::cases::{Body, request};
use crate::{Pictures, now, runtime};

const CALLERS: usize = 64;
/// The time between two requests of one caller.
const PAUSE: Duration = Duration::from_millis(10);
const LIFETIME: Duration = Duration::from_secs(2);
/// The duration of a token request.
const DELAY: Duration = Duration::from_millis(200);
const LENGTH: Duration = Duration::from_millis(7500);

const NAMES: [&str; 4] =
    ["tower-oauth2", "tower-oauth2, no renewal ahead", "Mutex by hand", "RwLock by hand"];

/// The start and the duration of a request.
type Call = (Instant, Duration);

struct Record {
    start: Instant,
    calls: Vec<Call>,
    issued: Vec<Issued>,
}

pub fn run(pictures: &Pictures) {
    let runtime = runtime(2);
    let at_once = || Duration::ZERO;
    let all = [
        runtime.block_on(record(|issuer| issuer.ours(issuer.api(at_once), |cache| cache))),
        runtime.block_on(record(|issuer| {
            issuer.ours(issuer.api(at_once), |cache| cache.renew_ahead(Duration::ZERO))
        })),
        runtime.block_on(record(|issuer| issuer.by_hand::<Mutexed>(issuer.api(at_once)))),
        runtime.block_on(record(|issuer| issuer.by_hand::<RwLocked>(issuer.api(at_once)))),
    ];
    println!(
        "| {CALLERS} callers, each every {} ms; a token request takes {} ms | replacements | \
         requests during stalls | p50 | p99 | max | requests otherwise | p50 | p99 | max |",
        PAUSE.as_millis(),
        DELAY.as_millis(),
    );
    println!("|---{}|", "|--:".repeat(9));
    for (name, record) in NAMES.iter().zip(&all) {
        let (during, otherwise) = record.parts();
        println!(
            "| {name} | {} | {} | {} |",
            record.issued.len() - 1,
            figures(during),
            figures(otherwise),
        );
    }
    pictures.write("stalls.svg", || picture(&all));
}

async fn record<S>(make: impl FnOnce(&Issuer) -> S) -> Record
where
    S: Service<Request<Body>, Response = http::Response<Body>, Error = BoxError>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let issuer = Issuer::new(LIFETIME, DELAY);
    let service = make(&issuer);
    service.clone().oneshot(request()).await.expect("a token");
    let start = now();
    let mut callers = JoinSet::<Vec<Call>>::new();
    for n in 0..CALLERS {
        let mut service = service.clone();
        callers.spawn(async move {
            let offset = PAUSE * n as u32 / CALLERS as u32;
            let mut ticks = tokio::time::interval_at((start + offset).into(), PAUSE);
            // A caller that was delayed does not send faster afterwards.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut calls = Vec::new();
            while now() < start + LENGTH {
                ticks.tick().await;
                let request = request();
                let begin = now();
                let ready = service.ready().await.expect("an API that is ready");
                let response = ready.call(request).await.expect("a response");
                calls.push((begin, now() - begin));
                assert!(response.status().is_success(), "{}", response.status());
            }
            calls
        });
    }
    let calls = callers.join_all().await.concat();
    Record { start, calls, issued: issuer.issued() }
}

impl Record {
    /// Returns the durations of the requests during a token request, and of the others.
    fn parts(&self) -> (Vec<Duration>, Vec<Duration>) {
        let is_during = |(begin, took): &Call| {
            self.issued
                .iter()
                .skip(1)
                .any(|one| *begin < one.arrived_at && *begin + *took > one.requested_at)
        };
        let (during, otherwise): (Vec<Call>, Vec<Call>) =
            self.calls.iter().partition(|c| is_during(c));
        let took = |calls: Vec<Call>| calls.into_iter().map(|(_, took)| took).collect();
        (took(during), took(otherwise))
    }
}

fn figures(mut took: Vec<Duration>) -> String {
    took.sort();
    let at = |part: f64| match took.is_empty() {
        true => "–".to_owned(),
        false => text(took[((took.len() - 1) as f64 * part) as usize]),
    };
    format!("{} | {} | {} | {}", took.len(), at(0.5), at(0.99), at(1.0))
}

fn text(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    if micros < 1000.0 { format!("{micros:.1} µs") } else { format!("{:.1} ms", micros / 1000.0) }
}

fn picture(all: &[Record]) -> String {
    let ticks = [
        (0.0, "1 µs"),
        (1.0, "10 µs"),
        (2.0, "100 µs"),
        (3.0, "1 ms"),
        (4.0, "10 ms"),
        (5.0, "100 ms"),
    ];
    let ticks = ticks.map(|(at, text)| (at, text.to_owned())).to_vec();
    let y = Axis { from: -0.5, to: 5.6, ticks };
    let ticks = (0..=7).map(|second| (f64::from(second), format!("{second} s"))).collect();
    let x = Axis { from: 0.0, to: LENGTH.as_secs_f64(), ticks };
    let results: Vec<_> =
        NAMES.iter().zip(all).map(|(name, record)| results(name, record)).collect();
    let panels: Vec<_> = NAMES
        .iter()
        .zip(all)
        .enumerate()
        .map(|(colour, (name, record))| Panel {
            name: (*name).to_owned(),
            x: &x,
            y: &y,
            series: vec![Series { colour: [3, 1, 5, 4][colour], points: slowest(record) }],
        })
        .collect();
    draw(
        "The slowest request of each 20 ms",
        &format!("The slowest requests take this long. {}", results.join(" ")),
        &[
            "A token lives for 2 s, and a token request takes 200 ms.",
            "The API responds at once, so the latency is the wait",
            "for a token.",
        ],
        &[],
        &panels,
    )
}

/// Returns the longest durations in words.
fn results(name: &str, record: &Record) -> String {
    let (during, otherwise) = record.parts();
    let longest = |took: Vec<Duration>| text(took.into_iter().max().unwrap_or_default());
    let (during, otherwise) = (longest(during), longest(otherwise));
    format!("{name}: {during} during a token request, {otherwise} at other times.")
}

/// Returns the slowest calls as points. `x` is the start in seconds, and `y` the duration as a
/// power of ten of microseconds.
fn slowest(record: &Record) -> Vec<(f64, f64)> {
    const BUCKET: f64 = 0.02;
    let mut buckets = vec![0.0_f64; (LENGTH.as_secs_f64() / BUCKET) as usize + 1];
    for (begin, took) in &record.calls {
        let bucket = ((*begin - record.start).as_secs_f64() / BUCKET) as usize;
        if let Some(slowest) = buckets.get_mut(bucket) {
            *slowest = slowest.max(took.as_secs_f64() * 1e6);
        }
    }
    let points = buckets.into_iter().enumerate().filter(|(_, slowest)| *slowest > 0.0);
    points.map(|(n, slowest)| (n as f64 * BUCKET, slowest.log10())).collect()
}
