//! The figures that R8 promises, for requests at a constant rate.

use super::simulation::{ApiResponse, Finished, Revocations, Simulation, one_in};
use super::*;

/// The pairs of latency and fetch time, in milliseconds, that most figures are checked with.
const TIMES: [(u64, u64); 3] = [(10, 50), (0, 0), (200, 1000)];

fn others(finished: &Finished) -> bool {
    finished.target.resource % 1000 != 9
}

#[test]
fn constant_401s_cost_130_token_requests_in_10_minutes() {
    for (latency, fetch_time) in TIMES {
        let simulation = Simulation::new(|_| ApiResponse::Unauthorized);
        let mut simulation = simulation.with_times(ms(latency), ms(fetch_time));
        simulation.load(0.0..600.0, 200.0, |n| (ORIGIN, n % 7));
        simulation.run();
        assert!(simulation.fetches.len() <= 130, "{}", simulation.fetches.len());
        assert!(simulation.most_fetches_in_a_minute() <= 20);
    }
}

/// The tenants are simulated one after the other, because each has its own breaker.
#[test]
fn each_of_3000_tenants_costs_8_fetches_and_then_one_in_5_s() {
    for tenant in 0..3000 {
        let per_second = [0.5, 1.0, 3.0][tenant % 3];
        let mut simulation = Simulation::new(|_| ApiResponse::Unauthorized);
        let start = tenant as f64 * 0.001;
        simulation.load(start..start + 40.0, per_second, |n| (ORIGIN, n % 3));
        simulation.run();
        let first = Duration::from_secs_f64(start);
        assert!(simulation.fetches_between(first, first + secs(10)) <= 8);
        let later = &simulation.fetches[7.min(simulation.fetches.len() - 1)..];
        for pair in later.windows(2) {
            assert!(pair[1] - pair[0] >= secs(5), "{pair:?}");
        }
    }
}

#[test]
fn a_tenant_with_many_requests_costs_no_more() {
    for (latency, fetch_time) in TIMES {
        let simulation = Simulation::new(|_| ApiResponse::Unauthorized);
        let mut simulation = simulation.with_times(ms(latency), ms(fetch_time));
        simulation.load(0.0..120.0, 200.0, |n| (ORIGIN, n % 3));
        simulation.run();
        assert!(simulation.fetches_between(secs(0), secs(10)) <= 8);
        for pair in simulation.fetches[7..].windows(2) {
            assert!(pair[1] - pair[0] >= secs(5), "{pair:?}");
        }
    }
}

#[test]
fn broken_origins_of_one_client_cost_no_more_than_one() {
    let mut simulation = Simulation::new(|_| ApiResponse::Unauthorized);
    simulation.load(0.0..60.0, 1000.0, |n| (n % 2000, 0));
    simulation.run();
    assert!(simulation.fetches.len() <= 20, "{}", simulation.fetches.len());
}

#[test]
fn one_bad_node_costs_60_token_requests_a_minute() {
    for nodes in [2, 3, 10, 100] {
        for (latency, fetch_time) in TIMES {
            let mut is_bad = one_in(nodes);
            let simulation = Simulation::new(move |_| ApiResponse::accept_if(!is_bad()));
            let mut simulation = simulation.with_times(ms(latency), ms(fetch_time));
            simulation.load(0.0..130.0, 200.0, |n| (ORIGIN, n % 5));
            simulation.run();
            let most = simulation.most_fetches_in_a_minute();
            assert!(most <= 60, "one bad node of {nodes}: {most}");
        }
    }
}

#[test]
fn one_bad_node_of_ten_delays_at_most_15_of_100_requests() {
    let mut is_bad = one_in(10);
    let simulation = Simulation::new(move |_| ApiResponse::accept_if(!is_bad()));
    let mut simulation = simulation.with_times(ms(10), secs(1));
    simulation.load(0.0..300.0, 200.0, |n| (ORIGIN, n % 5));
    simulation.run();
    // Also in the first minute, in which the allowance is full at first.
    for minute in 0..5 {
        let times = secs(60 * minute)..secs(60 * minute + 60);
        let waits = simulation.waits.iter().filter(|at| times.contains(*at)).count();
        assert!(waits * 100 <= 200 * 60 * 15, "minute {minute}: {waits}");
    }
}

/// The API answers 401 for 20 s, recovers, and then revokes all its tokens.
#[test]
fn a_revocation_while_open_costs_no_response() {
    for after in [0.011, 0.1, 0.5, 1.0, 3.0, 4.9] {
        let revocations = Revocations::at([20.0 + after]);
        let mut simulation = Simulation::new(move |sent| {
            ApiResponse::accept_if(sent.at >= secs(20) && !revocations.is_revoked(sent))
        });
        simulation.load(0.0..40.0, 200.0, |n| (ORIGIN, n % 5));
        simulation.run();
        let failed = simulation.failed(|finished| finished.at >= ms(20_010));
        assert_eq!(failed, 0, "revoked {after} s after recovery");
    }
}

#[test]
fn revocations_in_quick_succession_cost_no_response() {
    for first in [5.0, 100.0] {
        for pause in [0.07, 0.1, 0.2, 0.5, 1.0, 2.0, 7.0] {
            let revocations = Revocations::at([first, first + pause, first + 2.0 * pause]);
            let mut simulation =
                Simulation::new(move |sent| ApiResponse::accept_if(!revocations.is_revoked(sent)));
            simulation.load(0.0..first + 60.0, 200.0, |n| (ORIGIN, n % 5));
            simulation.run();
            assert_eq!(simulation.failed(|_| true), 0, "revoked every {pause} s");
            assert_eq!(simulation.fetches.len(), 4);
        }
    }
}

#[test]
fn one_forbidden_path_costs_20_fetches_a_minute_and_fails_alone() {
    for per_second in [0.02, 0.1, 1.0, 20.0, 200.0] {
        let mut simulation = Simulation::new(|sent| ApiResponse::accept_if(sent.path() != 9));
        simulation.load(0.0..240.0, per_second, |_| (ORIGIN, 9));
        simulation.load(0.003..240.0, 20.0, |n| (ORIGIN, n % 5));
        simulation.run();
        let most = simulation.most_fetches_in_a_minute();
        assert!(most <= 20, "{per_second}/s: {most}");
        assert_eq!(simulation.failed(others), 0);
    }
}

/// The revocations fall into every phase of a window of 5 s.
#[test]
fn revocations_beside_one_forbidden_path_fail_no_other_path() {
    for (forbidden_per_second, others_per_second) in [(1.0, 2.0), (1.0, 20.0), (20.0, 20.0)] {
        for n in 0..50 {
            let first = 12.0 + f64::from(n) * 0.107;
            let revocations = Revocations::at([first, first + 1.0]);
            let mut simulation = Simulation::new(move |sent| {
                ApiResponse::accept_if(sent.path() != 9 && !revocations.is_revoked(sent))
            });
            simulation.load(0.0..25.0, forbidden_per_second, |_| (ORIGIN, 9));
            simulation.load(0.003..25.0, others_per_second, |n| (ORIGIN, n % 5));
            simulation.run();
            assert_eq!(simulation.failed(others), 0, "revoked at {first} s");
        }
    }
}

#[test]
fn a_broken_origin_does_not_hide_revocations_from_others() {
    for n in 0..50 {
        let first = 12.0 + f64::from(n) * 0.107;
        let revocations = Revocations::at([first, first + 1.0]);
        let mut simulation = Simulation::new(move |sent| {
            ApiResponse::accept_if(sent.target.origin == 2 && !revocations.is_revoked(sent))
        });
        simulation.load(0.0..25.0, 100.0, |n| (1, n % 5));
        simulation.load(0.003..25.0, 20.0, |n| (2, n % 5));
        simulation.run();
        assert!(simulation.fetches.len() <= 15, "{}", simulation.fetches.len());
        assert_eq!(simulation.failed(|finished| finished.target.origin == 2), 0, "at {first} s");
    }
}

#[test]
fn the_gauge_comes_down_30_s_after_the_last_rejection() {
    let mut simulation = Simulation::new(|sent| ApiResponse::accept_if(sent.at >= secs(60)));
    simulation.load(0.0..200.0, 200.0, |n| (ORIGIN, n % 5));
    simulation.run();
    let rejected = |finished: &&Finished| finished.answer == ApiResponse::Unauthorized;
    let last_rejection = simulation.finished.iter().rfind(rejected).expect("a rejection").at;
    assert_eq!(simulation.gauge, [(ms(120), 1), (last_rejection + secs(30), 0)]);
}

#[test]
fn the_gauge_comes_down_without_traffic_too() {
    let mut simulation = Simulation::new(|_| ApiResponse::Unauthorized);
    simulation.load(0.0..60.0, 200.0, |n| (ORIGIN, n % 5));
    simulation.run();
    let last_rejection = simulation.finished.last().expect("a rejection").at;
    assert_eq!(simulation.gauge, [(ms(120), 1), (last_rejection + secs(30), 0)]);
}
