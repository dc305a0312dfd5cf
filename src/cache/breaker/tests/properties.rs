//! Random events, as a slot may report them.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

#[derive(Clone, Debug)]
enum Event {
    TimePasses(Duration),
    /// An API rejects the current token.
    Rejected {
        target: Target,
        send: SendNumber,
    },
    /// An API rejects a fresh token, which is not always the current one.
    FreshRejected {
        target: Target,
        age: IssueId,
    },
    Accepted {
        target: Target,
        age: IssueId,
    },
    Renewed,
    Ticked,
}

fn event() -> impl Strategy<Value = Event> {
    let target = (0..3_u64, 0..4_u64).prop_map(|(origin, path)| {
        // The hash of a resource may be 0.
        Target { origin, resource: 10 * origin + path }
    });
    let send = prop_oneof![
        4 => Just(SendNumber::First),
        1 => Just(SendNumber::Second),
        1 => Just(SendNumber::Third),
    ];
    let time = prop_oneof![
        8 => (0..300_u64).prop_map(ms),
        4 => (0..6000_u64).prop_map(ms),
        1 => (25_000..35_000_u64).prop_map(ms),
    ];
    prop_oneof![
        6 => time.prop_map(Event::TimePasses),
        8 => (target.clone(), send).prop_map(|(target, send)| Event::Rejected { target, send }),
        2 => (target.clone(), 0..3_u64)
            .prop_map(|(target, age)| Event::FreshRejected { target, age }),
        4 => (target, 0..3_u64).prop_map(|(target, age)| Event::Accepted { target, age }),
        1 => Just(Event::Renewed),
        1 => Just(Event::Ticked),
    ]
}

/// Prints the seed that replays the cases.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => fastrand::u64(..),
    };
    println!("to replay these cases: PROPTEST_RNG_SEED={seed}");
    let rng_seed = RngSeed::Fixed(seed);
    ProptestConfig { cases: 128, rng_seed, failure_persistence: None, ..config }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_gauge_is_0_or_1_and_the_allowance_is_kept(events in vec(event(), 1..200)) {
        let mut breaker = Breaker::default();
        let mut now = Instant::now();
        let (mut issue, mut arrived_at) = (3, now);
        let mut gauge = 0;
        let mut counted = Vec::new();
        for event in events {
            let change = match event {
                Event::TimePasses(time) => {
                    now += time;
                    None
                }
                Event::Rejected { target, send } => {
                    let rejected = RejectedSend { issue, arrived_at, target, send };
                    let (verdict, change) = breaker.judge_rejection(rejected, now);
                    if verdict != Verdict::Ignore {
                        counted.push(now);
                        // Another token arrives at once.
                        (issue, arrived_at) = (issue + 1, now);
                    }
                    change
                }
                Event::FreshRejected { target, age } => {
                    let change = breaker.fresh_token_rejected(issue - age, target, now);
                    prop_assert!(breaker.is_suspicious());
                    change
                }
                Event::Accepted { target, age } => {
                    breaker.token_accepted(issue - age, target, now)
                }
                Event::Renewed => {
                    (issue, arrived_at) = (issue + 1, now);
                    None
                }
                Event::Ticked => breaker.tick(now),
            };
            gauge += change.map_or(0, |change| i32::from(change.gauge_change()));
            prop_assert!(gauge == 0 || gauge == 1, "gauge at {}", gauge);
            prop_assert!(gauge == 0 || breaker.is_suspicious());
            prop_assert!(!breaker.is_open(now) || breaker.is_suspicious());
            prop_assert_eq!(breaker.acceptance_hint() == 0, !breaker.is_suspicious());
            prop_assert!(breaker.resets_at().is_none_or(|at| at <= now + RESET_AFTER));
        }
        if let Some(resets_at) = breaker.resets_at() {
            let change = breaker.tick(resets_at);
            gauge += change.map_or(0, |change| i32::from(change.gauge_change()));
        }
        prop_assert!(!breaker.is_suspicious());
        prop_assert_eq!(gauge, 0);
        for (n, first) in counted.iter().enumerate() {
            let in_minute = counted[n..].iter().take_while(|at| **at < *first + secs(60)).count();
            prop_assert!(in_minute <= 45, "{} rejections counted in a minute", in_minute);
        }
    }
}
