//! Token endpoints that fail a request with claims in other ways than with a 400.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::{Instant, advance};

use super::*;

const FAILURES: [Answer; 5] = [
    Answer::Status(500),
    Answer::Status(302),
    Answer::NoToken,
    Answer::DroppedConnection,
    Answer::Silence,
];

// R7
#[tokio::test(start_paused = true)]
async fn any_failure_drops_the_claims_at_once() {
    for failure in FAILURES {
        let setup = Setup::new(Endpoint::refusing_by(failure)).await;
        let start = Instant::now();
        assert_eq!(setup.status(A).await, replayed(401), "{failure:?}");
        let waited = match failure {
            Answer::Silence => FETCH_TIMEOUT,
            _ => Duration::ZERO,
        };
        // The API takes a few milliseconds.
        assert!(start.elapsed() < waited + ms(100), "{failure:?}");
        assert_eq!(setup.endpoint.requested(), [vec![], vec![NBF.to_owned()], vec![]]);
        assert_eq!(setup.api.tokens(), ["token-1", "token-3"]);
        assert_eq!(setup.status(A).await, claims_refused(), "{failure:?}");
    }
}

// R7
#[tokio::test(start_paused = true)]
async fn one_challenge_fails_no_other_request_for_two_hours() {
    for failure in FAILURES {
        let setup = Setup::new(Endpoint::refusing_by(failure)).await;
        assert_eq!(setup.status(A).await, replayed(401), "{failure:?}");
        for second in 0..2 * 3600 {
            assert_eq!(setup.status(PLAIN).await, (200, None), "{failure:?}, after {second} s");
            let got = setup.tokens.get().await;
            assert!(got.is_ok(), "{failure:?}, after {second} s: {got:?}");
            sleep(secs(1)).await;
        }
        // The token is renewed twice, without the claims.
        let requested = setup.endpoint.requested();
        let nbf = vec![NBF.to_owned()];
        assert_eq!(requested, [vec![], nbf, vec![], vec![], vec![]], "{failure:?}");
    }
}

// R7
#[tokio::test(start_paused = true)]
async fn one_failure_refuses_the_claims_for_the_back_off_only() {
    let is_down = Arc::new(AtomicBool::new(true));
    let fails = is_down.clone();
    let setup = Setup::new(Endpoint::new(move |_, claims| {
        if !claims.is_empty() && fails.load(Ordering::SeqCst) { 503 } else { 200 }
    }))
    .await;
    assert_eq!(setup.status(A).await, replayed(401));
    is_down.store(false, Ordering::SeqCst);
    assert_eq!(setup.status(A).await, claims_refused());
    // The longest back-off lasts a minute.
    advance(secs(60)).await;
    assert_eq!(setup.status(A).await, replayed(200));
    assert_eq!(setup.status(A).await, (200, None));
}

// R7, C9
#[tokio::test(start_paused = true)]
async fn claims_count_as_refused_only_if_a_token_arrives_without_them() {
    let is_down = Arc::new(AtomicBool::new(false));
    let fails = is_down.clone();
    let endpoint = Endpoint::new(move |_, _| if fails.load(Ordering::SeqCst) { 503 } else { 200 });
    let setup = Setup::new(endpoint).await;
    is_down.store(true, Ordering::SeqCst);
    let error = setup.send(A).await.unwrap_err();
    let error = TokenError::find_in(&*error).unwrap();
    assert_eq!(
        (error.status().unwrap().as_u16(), error.rejected_response().is_some()),
        (503, true)
    );
    is_down.store(false, Ordering::SeqCst);
    // The first back-off of a transient error and the first window of the breaker last 100 ms.
    advance(ms(200)).await;
    assert_eq!(setup.status(PLAIN).await.0, 200);
    settle().await;
    assert_eq!(setup.status(A).await, replayed(200), "the claims are requested again");
    let nbf = vec![NBF.to_owned()];
    assert_eq!(setup.endpoint.requested(), [vec![], nbf.clone(), vec![], vec![], nbf]);
}

// R7, C9
#[tokio::test(start_paused = true)]
async fn no_request_without_claims_follows_a_retry_after() {
    let setup = Setup::new(Endpoint::refusing_by(Answer::RetryAfter(30))).await;
    let error = setup.send(A).await.unwrap_err();
    assert_eq!(TokenError::find_in(&*error).unwrap().status().unwrap(), 503);
    let nbf = vec![NBF.to_owned()];
    for _ in 0..29 {
        assert_eq!(setup.status(PLAIN).await, (200, None), "with the rejected token (C12)");
        advance(secs(1)).await;
    }
    assert_eq!(setup.endpoint.requested(), [vec![], nbf.clone()]);
    advance(secs(2)).await;
    assert_eq!(setup.tokens.get().await.unwrap().secret(), "token-3");
    assert_eq!(setup.endpoint.requested(), [vec![], nbf, vec![]]);
}
