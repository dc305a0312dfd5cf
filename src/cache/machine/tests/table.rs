//! The table of the machine: every state × every event.

use super::*;

/// Brings a new world into a state.
type Reach = fn(&mut World);
/// Plays an event, and returns the machine's answer in words.
type Play = fn(&mut World) -> String;

/// Lists the states of the table, each with the shortest way to reach it.
const STATES: &[(&str, Reach)] = &[
    ("absent", |_| {}),
    ("absent, fetch running", |w| drop(w.get())),
    ("absent, fetch failed", |w| {
        drop(w.get());
        drop(w.fail(Outage::Transient));
    }),
    ("absent, back-off over", |w| {
        drop(w.get());
        drop(w.fail(Outage::Transient));
        w.now += secs(10);
    }),
    ("current", |w| w.acquire("a")),
    ("current, renewal due", |w| {
        w.acquire("a");
        w.now += secs(85);
    }),
    ("current, renewal running", |w| {
        w.acquire("a");
        w.now += secs(85);
        drop(w.tick());
    }),
    ("current, renewal failed", |w| {
        w.acquire("a");
        w.now += secs(85);
        drop(w.tick());
        drop(w.fail(Outage::Transient));
    }),
    ("suspect, fetch running", |w| {
        w.acquire("a");
        w.reject_newest();
        drop(w.get());
        let token = w.token("b");
        drop(w.complete(Ok(token)));
        w.now += secs(1);
        assert!(matches!(w.reject_newest(), RejectionOutcome::Replaced { .. }));
        let newer_than = Some(w.newest_issue());
        drop(w.step(&Requirements { newer_than, ..Requirements::default() }));
    }),
    ("over by the monotonic clock", |w| {
        w.acquire("a");
        w.now += secs(100);
    }),
    ("over by the wall clock", |w| {
        w.acquire("a");
        w.wall_ahead += secs(100);
    }),
    ("over, renewal running", |w| {
        w.acquire("a");
        w.now += secs(85);
        drop(w.tick());
        w.now += secs(20);
    }),
    ("over, renewal running, caller waits", |w| {
        w.acquire("a");
        w.now += secs(85);
        drop(w.tick());
        w.now += secs(20);
        assert!(matches!(w.get(), Step::Join(_)));
    }),
    ("rejected", |w| {
        w.acquire("a");
        w.reject_newest();
    }),
    ("rejected, fetch running", |w| {
        w.acquire("a");
        w.reject_newest();
        drop(w.get());
    }),
    ("rejected, older renewal running", |w| {
        w.acquire("a");
        w.now += secs(85);
        drop(w.tick());
        w.reject_newest();
    }),
    ("rejected, fetch failed", |w| {
        w.acquire("a");
        w.reject_newest();
        drop(w.get());
        drop(w.fail(Outage::Transient));
    }),
    ("rejected, back-off over", |w| {
        w.acquire("a");
        w.reject_newest();
        drop(w.get());
        drop(w.fail(Outage::Transient));
        w.now += secs(10);
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
    ("get", |w| describe_step(&w.get())),
    ("get newer", |w| {
        let newer_than = Some(w.newest_issue());
        describe_step(&w.step(&Requirements { newer_than, ..Requirements::default() }))
    }),
    ("get for second API", |w| {
        let origin = Some(SECOND_API.origin);
        describe_step(&w.step(&Requirements { origin, ..Requirements::default() }))
    }),
    ("get for first API", |w| {
        let origin = Some(FIRST_API.origin);
        describe_step(&w.step(&Requirements { origin, ..Requirements::default() }))
    }),
    ("get with claims", |w| {
        let claims = Claims::single("c");
        describe_step(&w.step(&Requirements { claims, ..Requirements::default() }))
    }),
    ("tick", |w| match w.tick() {
        TickOutcome::Usable => "usable".into(),
        TickOutcome::Renew(start) => describe_step(&Step::Fetch(start)),
        TickOutcome::Expired => "expired".into(),
    }),
    ("new token arrives", |w| {
        let token = w.token("z");
        describe_completion(&w.complete(Ok(token)))
    }),
    ("same token arrives", |w| {
        let token = w.token("a");
        describe_completion(&w.complete(Ok(token)))
    }),
    ("expired token arrives", |w| {
        let token = w.expired_token("z");
        describe_completion(&w.complete(Ok(token)))
    }),
    ("fails", |w| describe_completion(&w.fail(Outage::Transient))),
    ("fails with Retry-After", |w| describe_completion(&w.fail(Outage::RetryAfter))),
    ("fails, task stalled", |w| {
        let error = Err(Outage::Transient.error());
        describe_completion(&w.complete_fetch(w.last_fetch(), error, TaskTiming::Stalled))
    }),
    ("other fetch completes", |w| {
        let token = w.token("z");
        describe_completion(&w.complete_fetch(0, Ok(token), TaskTiming::OnTime))
    }),
    ("runtime ends", |w| describe_abandon(&w.abandon(Loss::RuntimeEnded))),
    ("fetch panics", |w| describe_abandon(&w.abandon(Loss::Panicked))),
    ("no sign of life", |w| {
        let events = w.machine.supersede(w.last_fetch(), w.now());
        let is_presumed_dead = events.event.is_some();
        w.record(events);
        if is_presumed_dead { "presumed dead".into() } else { "-".into() }
    }),
    ("rejected by first API", |w| {
        w.describe_reject(w.newest_issue(), Some(FIRST_API), Claims::default())
    }),
    ("rejected by second API", |w| {
        w.describe_reject(w.newest_issue(), Some(SECOND_API), Claims::default())
    }),
    ("rejected by hand", |w| w.describe_reject(w.newest_issue(), None, Claims::default())),
    ("late rejection", |w| {
        w.describe_reject(w.issue(w.issues.saturating_sub(1)), Some(FIRST_API), Claims::default())
    }),
    ("rejected with claims", |w| {
        w.describe_reject(w.newest_issue(), Some(FIRST_API), Claims::single("c"))
    }),
    ("credentials change", |w| {
        let events = w.machine.clear_failure(7);
        w.record(events);
        "-".into()
    }),
    ("forget", |w| {
        let events = w.machine.forget();
        w.record(events);
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
            let mut world = World::new();
            reach(&mut world);
            let answer = play(&mut world);
            world.assert_invariants();
            let row = format!("    {event:22} {answer:33} {}", world.state());
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
        let mut world = World::new();
        for _ in 0..100 {
            let before = world.state();
            let (_, play) = EVENTS[next() % EVENTS.len()];
            let answer = play(&mut world);
            world.assert_invariants();
            if answer == "superseded" {
                assert_eq!(without_expiry(world.state()), without_expiry(before));
            }
            world.now += millis([0, 0, 10, 300, 1500, 40_000][next() % 6]);
            states.insert(world.state().replace(" a", "").replace(" z", ""));
        }
    }
    println!("{} states:\n{states:#?}", states.len());
}
