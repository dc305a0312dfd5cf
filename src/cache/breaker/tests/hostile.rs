//! Tests the highest cost of APIs that are broken in unusual ways.

use super::simulation::{ApiResponse, Revocations, Simulation, one_in};
use super::*;

/// The rejections that count in a minute, and the first token request.
const MAX_IN_A_MINUTE: usize = 46;

#[test]
fn an_api_that_rejects_every_other_token() {
    let mut simulation = Simulation::new(|sent| ApiResponse::accept_if(sent.issue % 2 == 0));
    simulation.load(0.0..60.0, 200.0, |n| (ORIGIN, n % 5));
    simulation.run();
    assert_eq!(
        simulation.fetches.len(),
        2,
        "no token request follows once the API accepts a token"
    );
}

#[test]
fn an_api_that_accepts_each_token_a_few_times() {
    for times in [1, 2, 5, 50] {
        let (mut newest_issue, mut accepted) = (0, 0);
        let mut simulation = Simulation::new(move |sent| {
            if sent.issue > newest_issue {
                (newest_issue, accepted) = (sent.issue, 0);
            }
            accepted += 1;
            ApiResponse::accept_if(sent.issue == newest_issue && accepted <= times)
        });
        simulation.load(0.0..180.0, 200.0, |n| (ORIGIN, n % 5));
        simulation.run();
        let most = simulation.most_fetches_in_a_minute();
        assert!(most <= MAX_IN_A_MINUTE, "accepts {times} times: {most}");
    }
}

/// A reset breaker forgets the used units of its allowance. So does one that sees the rejection of
/// an older token.
#[test]
fn an_api_that_is_broken_again_and_again() {
    for (broken, healthy) in [(1, 1), (5, 25), (1, 29), (15, 30), (1, 31), (20, 31), (60, 35)] {
        let mut is_bad = one_in(3);
        let mut simulation = Simulation::new(move |sent| {
            let is_healthy = sent.at.as_secs() % (broken + healthy) >= broken;
            ApiResponse::accept_if(is_healthy || !is_bad())
        });
        simulation.load(0.0..300.0, 100.0, |n| (ORIGIN, n % 5));
        simulation.run();
        let most = simulation.most_fetches_in_a_minute();
        assert!(most <= MAX_IN_A_MINUTE, "{broken} s broken, {healthy} s healthy: {most}");
    }
}

/// The breaker knows which origin accepted tokens when the origin breaks permanently.
#[test]
fn an_api_that_breaks_permanently_soon_after_a_revocation() {
    let revocations = Revocations::at([4.0]);
    let mut simulation = Simulation::new(move |sent| {
        ApiResponse::accept_if(sent.at < secs(6) && !revocations.is_revoked(sent))
    });
    simulation.load(0.0..66.0, 200.0, |n| (ORIGIN, n % 7));
    simulation.run();
    let fetches = simulation.fetches_between(secs(6), secs(66));
    assert!(fetches <= 20, "{fetches}");
}

/// An overloaded gateway answers 503 without a look at the token.
#[test]
fn an_api_that_answers_401_and_503_in_turn() {
    let mut simulation = Simulation::new(|sent| {
        if sent.at.as_millis() % 20 < 10 {
            ApiResponse::Unauthorized
        } else {
            ApiResponse::Unavailable
        }
    });
    simulation.load(0.0..600.0, 200.0, |n| (ORIGIN, n % 7));
    simulation.run();
    assert!(simulation.fetches.len() <= 130, "{}", simulation.fetches.len());
}

#[test]
fn an_api_with_a_public_path_that_rejects_all_others() {
    let mut simulation = Simulation::new(|sent| ApiResponse::accept_if(sent.path() == 0));
    simulation.load(0.0..300.0, 200.0, |n| (ORIGIN, n % 7));
    simulation.run();
    let most = simulation.most_fetches_in_a_minute();
    assert!(most <= 20 + 6, "one more for each path: {most}");
    let later = simulation.fetches_between(secs(60), secs(300));
    assert!(later <= 4 * 12, "{later}");
}

/// A second token counts as rejected, because it may be as old as the first.
#[test]
fn an_api_that_always_answers_401_to_tokens_from_a_store() {
    let mut simulation = Simulation::new(|_| ApiResponse::Unauthorized);
    simulation.tokens_may_be_old = true;
    simulation.load(0.0..120.0, 200.0, |n| (ORIGIN, n % 7));
    simulation.run();
    let most = simulation.most_fetches_in_a_minute();
    assert!(most <= MAX_IN_A_MINUTE, "{most}");
}

/// Each rejected path is another one, so there is evidence each time.
#[test]
fn many_forbidden_paths_of_a_healthy_origin() {
    let revocations = Revocations::at([50.5, 100.5, 150.5]);
    let mut simulation = Simulation::new(move |sent| {
        ApiResponse::accept_if(sent.path() < 500 && !revocations.is_revoked(sent))
    });
    simulation.load(0.0..200.0, 20.0, |n| (ORIGIN, 500 + n % 499));
    simulation.load(0.003..200.0, 20.0, |n| (ORIGIN, n % 5));
    simulation.run();
    assert!(simulation.most_fetches_in_a_minute() <= MAX_IN_A_MINUTE);
    let failed = simulation.failed(|finished| finished.target.resource % 1000 < 500);
    // A revocation is healed with the next unit of the allowance.
    assert!(failed <= 3 * 2 * 20, "{failed}");
}

/// The API accepts a token only some time after it was issued. Its clock may be late, or the token
/// has to spread to its nodes.
#[test]
fn an_api_that_accepts_new_tokens_late() {
    for (lag, healthy_after) in [(ms(300), 2), (secs(1), 5), (secs(3), 10), (secs(10), 35)] {
        let mut simulation =
            Simulation::new(move |sent| ApiResponse::accept_if(sent.at >= sent.issued_at + lag));
        simulation.load(0.0..120.0, 200.0, |n| (ORIGIN, n % 5));
        simulation.run();
        assert_eq!(simulation.failed(|finished| finished.at >= secs(healthy_after)), 0, "{lag:?}");
        assert!(simulation.fetches.len() <= 12, "{lag:?}: {}", simulation.fetches.len());
    }
}

/// The server keeps one live token per client, so two processes revoke each other's tokens. The
/// other process follows the same rules.
#[test]
fn two_processes_that_revoke_each_other() {
    // The breaker draws times.
    fastrand::seed(1);
    let (mut newest_issue, mut revoked_through) = (0, 0);
    let mut other_fetches_at: Option<Duration> = None;
    let mut other_fetches = 0;
    let mut other_may_fetch_at = Duration::ZERO;
    let mut simulation = Simulation::new(move |sent| {
        if sent.issue > newest_issue {
            newest_issue = sent.issue;
            // The other process finds its token revoked, and fetches when its rules permit.
            let at = (sent.at + ms(65)).max(other_may_fetch_at);
            other_fetches += 1;
            if other_fetches > 5 {
                other_may_fetch_at = at + CONTENDED_INTERVAL + ms(fastrand::u64(0..2000));
            }
            other_fetches_at = Some(at);
        }
        if other_fetches_at.take_if(|at| sent.at >= *at).is_some() {
            revoked_through = newest_issue;
        }
        ApiResponse::accept_if(sent.issue > revoked_through)
    });
    simulation.load(0.0..300.0, 200.0, |n| (ORIGIN, n % 5));
    simulation.run();
    let most = simulation.most_fetches_in_a_minute();
    assert!(most <= 6 + 12, "{most}");
    assert!(simulation.fetches_between(secs(60), secs(300)) <= 48);
    // The processes take turns. In step, this one would have a good token for 1 s in 77.
    assert!(simulation.failed(|_| true) * 10 <= 9 * 300 * 200, "{}", simulation.failed(|_| true));
    assert!(simulation.gauge.is_empty(), "the API is not broken");
}

/// One of ten nodes is bad, and all tokens are revoked.
#[test]
fn a_revocation_beside_a_bad_node_is_healed_within_2_s() {
    let revocations = Revocations::at([60.3]);
    let mut is_bad = one_in(10);
    let mut simulation = Simulation::new(move |sent| {
        ApiResponse::accept_if(!is_bad() && !revocations.is_revoked(sent))
    });
    simulation.load(0.0..90.0, 200.0, |n| (ORIGIN, n % 5));
    simulation.run();
    let failed = simulation.failed(|finished| (ms(60_300)..ms(62_400)).contains(&finished.at));
    let failed_later =
        simulation.failed(|finished| (ms(62_400)..ms(70_000)).contains(&finished.at));
    assert!(failed <= 2 * 200 + 20, "{failed}");
    assert!(failed_later * 8 <= 7600 / 5, "one in ten, except for resends: {failed_later}");
}
