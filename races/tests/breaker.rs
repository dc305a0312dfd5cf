//! The breaker: concurrent rejections, acceptances and sweeps (R8).

use std::time::Duration;

use http::StatusCode;
use tokio::runtime::Runtime;
use tokio::time::{advance, elapsed};
use tower_oauth2_races::replay::{NotReplayed, Replayed};

use crate::support::*;

/// The time without a rejection after which the breaker resets.
const RESET_AFTER: Duration = Duration::from_secs(30);
const FIRST_WINDOW: Duration = Duration::from_millis(100);

#[test]
fn an_api_that_rejects_every_token_costs_one_fetch_per_window() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let api = Api::new(&fixture);
        api.rules().accepts_none = true;
        let service = api.service(&fixture);
        fixture.get().unwrap();
        let requests = [(); 3].map(|()| {
            let service = service.clone();
            fixture.spawn(move |_| send(&service).status())
        });
        assert!(join(requests).iter().all(|status| *status == StatusCode::UNAUTHORIZED));
        // The window doubles with each rejection that counts.
        let counted = fixture.journal.count() - 1;
        assert!(counted >= 1);
        advance(FIRST_WINDOW * (1 << (counted - 1)));
        let response = send(&service);
        assert_eq!(response.extensions().get(), Some(&Replayed::Yes));
        assert_eq!(fixture.journal.count(), counted + 2);
    });
}

#[test]
fn a_revocation_while_the_breaker_is_open_is_healed() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let api = Api::new(&fixture);
        let service = api.service(&fixture);
        fixture.get().unwrap();
        api.revoke_all();
        // The breaker opens, and learns that the API accepts the second token.
        assert_eq!(send(&service).status(), StatusCode::OK);
        let requests = [(); 2].map(|()| {
            let service = service.clone();
            fixture.spawn(move |_| [send(&service).status(), send(&service).status()])
        });
        let revoking = {
            let api = api.clone();
            fixture.spawn(move |_| api.rules().revoked_through = 2)
        };
        revoking.join().unwrap();
        assert!(join(requests).iter().flatten().all(|status| *status == StatusCode::OK));
        assert_eq!(send(&service).status(), StatusCode::OK);
        assert_eq!(fixture.journal.count(), 3);
        assert_no_timer_was_needed();
    });
}

#[test]
fn an_acceptance_that_meets_a_rejection_is_not_lost() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let api = Api::new(&fixture);
        let service = api.service(&fixture);
        fixture.get().unwrap();
        api.revoke_all();
        let resent = {
            let service = service.clone();
            fixture.spawn(move |_| send(&service).status())
        };
        let rejected = {
            let (api, service) = (api.clone(), service.clone());
            fixture.spawn(move |_| {
                wait_until(|| api.sent().contains(&2));
                api.rules().revoked_through = 2;
                send(&service)
            })
        };
        assert_eq!(resent.join().unwrap(), StatusCode::OK);
        let rejected = rejected.join().unwrap();
        if rejected.status() != StatusCode::OK {
            let replayed = rejected.extensions().get();
            assert_eq!(replayed, Some(&Replayed::No(NotReplayed::BreakerOpen)));
        }
        // Both are known by now: the API has accepted the token that it rejects.
        assert_eq!(send(&service).status(), StatusCode::OK);
        assert_eq!(fixture.journal.count(), 3);
        assert_no_timer_was_needed();
    });
}

#[test]
fn a_late_acceptance_counts_for_its_own_token() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let api = Api::new(&fixture);
        let service = api.service(&fixture);
        fixture.get().unwrap();
        api.hold_back();
        let accepted = {
            let service = service.clone();
            fixture.spawn(move |_| send(&service).status())
        };
        wait_until(|| api.sent() == [1]);
        // The API breaks. Two tokens follow, and both are rejected.
        let broken = Api::new(&fixture);
        broken.rules().accepts_none = true;
        let broken = broken.service(&fixture);
        for _ in 0..2 {
            assert_eq!(send(&broken).status(), StatusCode::UNAUTHORIZED);
            advance(FIRST_WINDOW);
        }
        let requests = [(); 2].map(|()| {
            let broken = broken.clone();
            fixture.spawn(move |_| send(&broken).status())
        });
        api.release();
        assert!(join(requests).iter().all(|status| *status == StatusCode::UNAUTHORIZED));
        assert_eq!(accepted.join().unwrap(), StatusCode::OK);
        // The acceptance of the first token says nothing about the third one.
        assert_eq!(send(&broken).status(), StatusCode::UNAUTHORIZED);
        assert_eq!(fixture.journal.count(), 3);
    });
}

#[test]
fn the_gauge_of_broken_apis_is_back_at_zero_without_traffic() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let api = Api::new(&fixture);
        api.rules().accepts_none = true;
        let service = api.service(&fixture);
        fixture.get().unwrap();
        assert_eq!(send(&service).status(), StatusCode::UNAUTHORIZED);
        assert_eq!(gauge(BROKEN_APIS), 1.0);
        // These are rejected while the breaker resets.
        let requests = [(); 2].map(|()| {
            let service = service.clone();
            fixture.spawn(move |_| {
                sleep(RESET_AFTER);
                assert_eq!(send(&service).status(), StatusCode::UNAUTHORIZED);
            })
        });
        join(requests);
        let last_rejection = elapsed();
        fixture.settle();
        assert_eq!(gauge(BROKEN_APIS), 0.0);
        assert!(elapsed() <= last_rejection + RESET_AFTER + Duration::from_secs(1));
    });
}

#[test]
fn evidence_is_collected_again_after_a_sweep() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let api = Api::new(&fixture);
        let service = api.service(&fixture);
        fixture.get().unwrap();
        api.revoke_all();
        assert_eq!(send(&service).status(), StatusCode::OK);
        // Rejections of a young token meet the sweep.
        sleep(RESET_AFTER - Duration::from_secs(1));
        fixture.reject(&fixture.get_at_once());
        fixture.get().unwrap();
        api.revoke_all();
        let requests = [(); 2].map(|()| {
            let service = service.clone();
            fixture.spawn(move |_| {
                sleep(Duration::from_secs(1));
                send(&service).status()
            })
        });
        assert!(join(requests).iter().all(|status| *status == StatusCode::OK));
        // The breaker is open, and the API has accepted the token that is revoked now.
        api.revoke_all();
        assert_eq!(send(&service).status(), StatusCode::OK);
        fixture.settle();
        assert_eq!(gauge(BROKEN_APIS), 0.0);
    });
}

#[test]
fn a_sweeper_whose_runtime_ends_is_replaced() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let api = Api::new(&fixture);
        api.rules().accepts_none = true;
        let service = api.service(&fixture);
        fixture.get().unwrap();
        let ending = Runtime::new();
        let elsewhere = fixture.on(&ending);
        let request = {
            let service = service.clone();
            elsewhere.spawn(move |_| try_send(&service).map(|response| response.status()))
        };
        let end = fixture.spawn(|_| drop(ending));
        let _ = request.join().unwrap();
        end.join().unwrap();
        elsewhere.settle();
        // The lost sweep is overdue.
        advance(RESET_AFTER + Duration::from_secs(6));
        assert_eq!(send(&service).status(), StatusCode::UNAUTHORIZED);
        fixture.settle();
        assert_eq!(gauge(BROKEN_APIS), 0.0);
    });
}
