//! The table of the machine: every state × every event.

use super::*;

/// Brings a new harness into a state.
type Reach = fn(&mut Harness);
/// Plays an event, and returns the machine's answer in words.
type Play = fn(&mut Harness) -> String;

/// Lists the states of the table, each with the shortest way to reach it.
const STATES: &[(&str, Reach)] = &[
    ("absent", |_| {}),
    ("absent, fetch running", |h| drop(h.get())),
    ("absent, fetch failed", |h| {
        drop(h.get());
        drop(h.fail(Outage::Transient));
    }),
    ("absent, back-off over", |h| {
        drop(h.get());
        drop(h.fail(Outage::Transient));
        h.now += secs(10);
    }),
    ("current", |h| h.acquire("a")),
    ("current, renewal due", |h| {
        h.acquire("a");
        h.now += secs(85);
    }),
    ("current, renewal running", |h| {
        h.acquire("a");
        h.now += secs(85);
        drop(h.tick());
    }),
    ("current, renewal failed", |h| {
        h.acquire("a");
        h.now += secs(85);
        drop(h.tick());
        drop(h.fail(Outage::Transient));
    }),
    ("suspect, fetch running", |h| {
        h.acquire("a");
        h.reject_newest();
        drop(h.get());
        let token = h.token("b");
        drop(h.complete(Ok(token)));
        h.now += secs(1);
        assert!(matches!(h.reject_newest(), RejectionOutcome::Replaced { .. }));
        let newer_than = Some(h.newest_issue());
        drop(h.step(&Requirements { newer_than, ..Requirements::default() }));
    }),
    ("over by the monotonic clock", |h| {
        h.acquire("a");
        h.now += secs(100);
    }),
    ("over by the wall clock", |h| {
        h.acquire("a");
        h.wall_ahead += secs(100);
    }),
    ("over, renewal running", |h| {
        h.acquire("a");
        h.now += secs(85);
        drop(h.tick());
        h.now += secs(20);
    }),
    ("over, renewal running, caller waits", |h| {
        h.acquire("a");
        h.now += secs(85);
        drop(h.tick());
        h.now += secs(20);
        assert!(matches!(h.get(), Step::Join(_)));
    }),
    ("rejected", |h| {
        h.acquire("a");
        h.reject_newest();
    }),
    ("rejected, fetch running", |h| {
        h.acquire("a");
        h.reject_newest();
        drop(h.get());
    }),
    ("rejected, older renewal running", |h| {
        h.acquire("a");
        h.now += secs(85);
        drop(h.tick());
        h.reject_newest();
    }),
    ("rejected, fetch failed", |h| {
        h.acquire("a");
        h.reject_newest();
        drop(h.get());
        drop(h.fail(Outage::Transient));
    }),
    ("rejected, back-off over", |h| {
        h.acquire("a");
        h.reject_newest();
        drop(h.get());
        drop(h.fail(Outage::Transient));
        h.now += secs(10);
    }),
];

fn describe_step(step: &Step) -> String {
    let describe_start = |start: &FetchStart| {
        let previous = match &start.spec.previous {
            Some(token) => format!(", previous {}", text(token)),
            None => String::new(),
        };
        let claims = if start.spec.claims.is_empty() { "" } else { ", claims" };
        format!("{:?}{previous}{claims}", start.spec.cause)
    };
    match step {
        Step::Use(token) => format!("use {}", text(token)),
        Step::UseAndFetch(token, start) => {
            format!("use {}, fetch {}", text(token), describe_start(start))
        }
        Step::Join(_) => "join".into(),
        Step::Fetch(start) => format!("fetch {}", describe_start(start)),
        Step::Fail(_) => "fail".into(),
        Step::FailFor(..) => "fail for version".into(),
        Step::NoRuntime => "no runtime".into(),
        Step::ClaimsRefused => "claims refused".into(),
    }
}

fn describe_completion(completion: &Completion) -> String {
    match completion {
        Completion::Done(Ok(token)) => format!("token {}", text(token)),
        Completion::Done(Err(_)) => "failed".into(),
        Completion::Refetch(spec) => format!("refetch {:?}", spec.cause),
        Completion::Superseded(_) => "superseded".into(),
    }
}

fn describe_abandon(outcome: &Abandoned) -> String {
    match outcome {
        Abandoned::Lost => "lost".into(),
        Abandoned::Failed(_) => "failed".into(),
    }
}

/// Lists the events of the table. Each returns the machine's answer in words.
const EVENTS: &[(&str, Play)] = &[
    ("get", |h| describe_step(&h.get())),
    ("get newer", |h| {
        let newer_than = Some(h.newest_issue());
        describe_step(&h.step(&Requirements { newer_than, ..Requirements::default() }))
    }),
    ("get for second API", |h| {
        let origin = Some(SECOND_API.origin);
        describe_step(&h.step(&Requirements { origin, ..Requirements::default() }))
    }),
    ("get for first API", |h| {
        let origin = Some(FIRST_API.origin);
        describe_step(&h.step(&Requirements { origin, ..Requirements::default() }))
    }),
    ("get with claims", |h| {
        let claims = Claims::single("c");
        describe_step(&h.step(&Requirements { claims, ..Requirements::default() }))
    }),
    ("tick", |h| match h.tick() {
        TickOutcome::Usable => "usable".into(),
        TickOutcome::Renew(start) => describe_step(&Step::Fetch(start)),
        TickOutcome::Expired => "expired".into(),
    }),
    ("new token arrives", |h| {
        let token = h.token("z");
        describe_completion(&h.complete(Ok(token)))
    }),
    ("same token arrives", |h| {
        let token = h.token("a");
        describe_completion(&h.complete(Ok(token)))
    }),
    ("expired token arrives", |h| {
        let token = h.expired_token("z");
        describe_completion(&h.complete(Ok(token)))
    }),
    ("fails", |h| describe_completion(&h.fail(Outage::Transient))),
    ("fails with Retry-After", |h| describe_completion(&h.fail(Outage::RetryAfter))),
    ("fails, task stalled", |h| {
        let error = Err(Outage::Transient.error());
        describe_completion(&h.complete_fetch(h.last_fetch(), error, TaskTiming::Stalled))
    }),
    ("other fetch completes", |h| {
        let token = h.token("z");
        describe_completion(&h.complete_fetch(0, Ok(token), TaskTiming::OnTime))
    }),
    ("runtime ends", |h| describe_abandon(&h.abandon(Loss::RuntimeEnded))),
    ("fetch panics", |h| describe_abandon(&h.abandon(Loss::Panicked))),
    ("no sign of life", |h| {
        let events = h.machine.supersede(h.last_fetch(), h.now());
        let is_presumed_dead = events.event.is_some();
        h.record(events);
        if is_presumed_dead { "presumed dead".into() } else { "-".into() }
    }),
    ("rejected by first API", |h| {
        h.describe_reject(h.newest_issue(), Some(FIRST_API), Claims::default())
    }),
    ("rejected by second API", |h| {
        h.describe_reject(h.newest_issue(), Some(SECOND_API), Claims::default())
    }),
    ("rejected by hand", |h| h.describe_reject(h.newest_issue(), None, Claims::default())),
    ("late rejection", |h| {
        h.describe_reject(h.issue(h.issues.saturating_sub(1)), Some(FIRST_API), Claims::default())
    }),
    ("rejected with claims", |h| {
        h.describe_reject(h.newest_issue(), Some(FIRST_API), Claims::single("c"))
    }),
    ("credentials change", |h| {
        let events = h.machine.clear_failure(7);
        h.record(events);
        "-".into()
    }),
    ("forget", |h| {
        let events = h.machine.forget();
        h.record(events);
        "-".into()
    }),
];

const TABLE_HEADER: &str = "\
# Each block is a state. Each row is an event, the machine's answer, and the state after it.
# \"older fetch\": it began before the last rejection. \"background fetch\": no caller waits for it.
# \"since now\": tokens of all earlier fetches may be as old as the rejected one (C8).
# Write this file again with WRITE_TABLE=1.
";

/// Compares every state and every event with `table.txt`.
///
/// `WRITE_TABLE=1` writes the file. Read the difference before you commit it.
#[test]
fn every_state_and_event_matches_the_table() {
    let mut table = TABLE_HEADER.to_owned();
    for (state, reach) in STATES {
        table.push_str(&format!("{state}\n"));
        for (event, play) in EVENTS {
            let mut harness = Harness::new();
            reach(&mut harness);
            let answer = play(&mut harness);
            harness.assert_invariants();
            let row = format!("    {event:22} {answer:33} {}", harness.state());
            table.push_str(row.trim_end());
            table.push('\n');
        }
    }
    if std::env::var_os("WRITE_TABLE").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cache/machine/tests/table.txt");
        std::fs::write(path, &table).unwrap();
    }
    let expected = include_str!("table.txt");
    for (n, (actual, expected)) in table.lines().zip(expected.lines()).enumerate() {
        assert_eq!(actual, expected, "line {}", n + 1);
    }
    assert_eq!(table.lines().count(), expected.lines().count());
}

/// Plays 2,000 random walks of 100 events each.
#[test]
fn invariants_hold_on_random_walks() {
    let mut seed = 1_u64;
    let mut next = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    // A transition may expire the token first, and a suspect token can expire too.
    let without_expiry =
        |state: String| state.replace("expired", "current").replace("suspect", "current");
    let mut states = std::collections::BTreeSet::new();
    for _ in 0..2000 {
        let mut harness = Harness::new();
        for _ in 0..100 {
            let before = harness.state();
            let (_, play) = EVENTS[next() % EVENTS.len()];
            let answer = play(&mut harness);
            harness.assert_invariants();
            if answer == "superseded" {
                assert_eq!(without_expiry(harness.state()), without_expiry(before));
            }
            harness.now += millis([0, 0, 10, 300, 1500, 40_000][next() % 6]);
            states.insert(harness.state().replace(" a", "").replace(" z", ""));
        }
    }
    println!("{} states:\n{states:#?}", states.len());
}
