//! Requests through the layer: tokens are rejected, replaced and sent again (C8, C12, R1, R7).

use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use http::StatusCode;
use shuttle::thread;
use tokio::time::advance;
use tower::ServiceExt;
use tower_oauth2_races::TokenError;
use tower_oauth2_races::replay::{NotReplayed, Replayed};

use crate::support::*;

// R1, C8
#[test]
fn requests_with_a_revoked_token_make_one_token_request() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let api = Api::new(&fixture);
        let service = api.service(&fixture);
        fixture.get().unwrap();
        api.revoke_all();
        let requests = [(); 3].map(|()| {
            let service = service.clone();
            fixture.spawn(move |_| send(&service).status())
        });
        assert!(join(requests).iter().all(|status| *status == StatusCode::OK));
        assert_eq!(fixture.journal.count(), 2);
        assert!(api.sent().len() <= 6);
        assert_no_timer_was_needed();
    });
}

// R5
#[test]
fn a_dropped_request_does_not_affect_others() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let api = Api::new(&fixture);
        let service = api.service(&fixture);
        fixture.get().unwrap();
        api.revoke_all();
        let dropped = {
            let service = service.clone();
            fixture.spawn(move |_| {
                let mut response = pin!(service.oneshot(request()));
                for _ in 0..3 {
                    let mut cx = Context::from_waker(Waker::noop());
                    if response.as_mut().poll(&mut cx).is_ready() {
                        break;
                    }
                    thread::yield_now();
                }
            })
        };
        let other = fixture.spawn(move |_| send(&service).status());
        dropped.join().unwrap();
        assert_eq!(other.join().unwrap(), StatusCode::OK);
        assert_eq!(fixture.journal.count(), 2);
        assert_no_timer_was_needed();
    });
}

// C8
#[test]
fn a_service_does_not_send_its_local_token_after_its_rejection() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let api = Api::new(&fixture);
        let first = fixture.get().unwrap();
        let rejecting = fixture.spawn(move |fixture| {
            fixture.reject(&first);
            fixture.get().unwrap();
        });
        let mut service = api.service(&fixture);
        for _ in 0..5 {
            let start = fixture.journal.poll_start();
            call_and_drop(&mut service);
            if let Some(sent) = api.rules().sent.pop() {
                fixture.journal.assert_may_be_sent(&token(sent), start);
            }
        }
        rejecting.join().unwrap();
        call_and_drop(&mut service);
        assert_eq!(api.sent(), [2]);
    });
}

// C8
#[test]
fn in_every_order_a_hit_sends_no_rejected_token() {
    explore_all(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let api = Api::new(&fixture);
        let mut service = api.service(&fixture);
        let first = fixture.get().unwrap();
        fixture.settle();
        // From the second use on, the service keeps the token.
        (0..3).for_each(|_| call_and_drop(&mut service));
        let rejecting = fixture.spawn(move |fixture| {
            explore_from_here();
            fixture.reject(&first);
        });
        thread::yield_now();
        call_and_drop(&mut service);
        let sent = api.sent().len();
        rejecting.join().unwrap();
        assert!((3..=4).contains(&sent));
        call_and_drop(&mut service);
        assert_eq!(api.sent().len(), sent, "the token is sent after its rejection");
    });
}

// C8
#[test]
fn a_waiting_request_sends_no_token_older_than_a_rejected_one() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::new(|n| match n {
            3 => Answer::SlowToken(Duration::from_secs(1), token(n)),
            _ => Answer::Token(token(n)),
        });
        let api = Api::new(&fixture);
        let service = api.service(&fixture);
        let waiting = fixture.spawn(move |_| send(&service).status());
        fixture.get().unwrap();
        api.make_busy();
        advance(DUE);
        fixture.get_at_once();
        fixture.settle();
        fixture.reject(&fixture.get_at_once());
        api.release();
        assert_eq!(waiting.join().unwrap(), StatusCode::OK);
        assert!(fixture.journal.count() <= 3);
    });
}

// C8
#[test]
fn a_renewal_from_before_a_revocation_is_replaced_too() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let api = Api::new(&fixture);
        let service = api.service(&fixture);
        fixture.get().unwrap();
        advance(DUE);
        fixture.get_at_once();
        let requests = [(); 2].map(|()| {
            let service = service.clone();
            fixture.spawn(move |_| send(&service).status())
        });
        let revoking = {
            let api = api.clone();
            fixture.spawn(move |_| api.revoke_all())
        };
        revoking.join().unwrap();
        assert!(join(requests).iter().all(|status| *status == StatusCode::OK));
        assert_eq!(send(&service).status(), StatusCode::OK);
        assert!(fixture.journal.count() <= 3);
    });
}

// C12
#[test]
fn other_origins_use_a_rejected_token_while_fetches_fail() {
    explore(|| {
        let script = |n| if n == 1 { Answer::Token(token(n)) } else { Answer::Fail };
        let (fixture, _runtime) = CacheFixture::new(script);
        let (rejecting, accepting) = (Api::new(&fixture), Api::new(&fixture));
        let services = [rejecting.service(&fixture), accepting.service(&fixture)];
        fixture.get().unwrap();
        rejecting.revoke_all();
        for round in 0..2 {
            let requests = [0, 1, 0, 1].map(|index| {
                let service = services[index].clone();
                let uri = ["https://one.test/", "https://other.test/"][index];
                fixture.spawn(move |_| (index, try_send_to(&service, uri)))
            });
            let sent_before = rejecting.sent().len();
            for (index, result) in join(requests) {
                if index == 0 {
                    let error = result.unwrap_err();
                    assert!(TokenError::find_in(&*error).is_some());
                } else {
                    assert_eq!(result.unwrap().status(), StatusCode::OK);
                }
            }
            assert!(
                round == 0 || rejecting.sent().len() == sent_before,
                "an API gets a token again that it has rejected"
            );
            assert!(fixture.get().is_err(), "get never returns a rejected token");
            // The back-off has ended, and the token is still valid.
            advance(Duration::from_secs(15));
        }
        assert!(accepting.sent().iter().all(|call| *call == 1));
    });
}

// R7
#[test]
fn claims_of_concurrent_rejections_are_all_requested() {
    explore(|| {
        let (fixture, _runtime) = CacheFixture::simple();
        let apis = [Api::new(&fixture), Api::new(&fixture)];
        apis[0].rules().required_claim = Some("one");
        apis[1].rules().required_claim = Some("other");
        fixture.get().unwrap();
        let requests = [0, 1].map(|index| {
            let service = apis[index].service(&fixture);
            let uri = ["https://one.test/", "https://other.test/"][index];
            fixture.spawn(move |_| try_send_to(&service, uri).unwrap())
        });
        let responses = join(requests);
        let is_ok = responses.iter().map(|response| response.status() == StatusCode::OK);
        assert!(is_ok.clone().any(|is_ok| is_ok));
        for response in responses.iter().filter(|response| response.status() != StatusCode::OK) {
            // The second rejection may come when the breaker is open.
            let replayed = response.extensions().get();
            assert_eq!(replayed, Some(&Replayed::No(NotReplayed::BreakerOpen)));
        }
        // A token that has the claims of one API gets those of the other one too.
        advance(Duration::from_millis(100));
        for (api, uri) in apis.iter().zip(["https://one.test/", "https://other.test/"]) {
            let response = try_send_to(&api.service(&fixture), uri).unwrap();
            assert_eq!(response.status(), StatusCode::OK);
        }
        assert!(fixture.journal.count() <= 3);
    });
}
