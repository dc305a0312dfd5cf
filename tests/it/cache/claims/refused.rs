use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::{Instant, advance, timeout};
use tower_oauth2::TokenErrorKind;

use super::*;

// R7
#[tokio::test(start_paused = true)]
async fn refused_claims_are_dropped_and_the_request_is_resent() {
    let setup = Setup::new(Endpoint::refusing()).await;
    let start = Instant::now();
    assert_eq!(setup.status(A).await, replayed(401), "the response to the resend");
    assert!(start.elapsed() < ms(100), "without a pause");
    assert_eq!(setup.endpoint.requested(), [vec![], vec![NBF.to_owned()], vec![]]);
    assert_eq!(setup.api.tokens(), ["token-1", "token-3"]);
    assert_eq!(setup.tokens.get().await.unwrap().secret(), "token-3");
}

// R7
#[tokio::test(start_paused = true)]
async fn requests_to_other_apis_do_not_notice_refused_claims() {
    let setup = Setup::new(Endpoint::refusing().delayed(secs(1))).await;
    let challenged = tokio::spawn(setup.send(A));
    let mut others = Vec::new();
    for _ in 0..30 {
        others.push(tokio::spawn(setup.send(PLAIN)));
        sleep(ms(100)).await;
    }
    for other in others {
        assert_eq!(status(other.await.unwrap()), (200, None));
    }
    assert_eq!(status(challenged.await.unwrap()), replayed(401));
    assert_eq!(setup.endpoint.requested(), [vec![], vec![NBF.to_owned()], vec![]]);
}

// R7
#[tokio::test(start_paused = true)]
async fn a_challenge_with_refused_claims_is_returned_at_once() {
    let setup = Setup::new(Endpoint::refusing()).await;
    assert_eq!(setup.status(A).await, replayed(401));
    for _ in 0..8 {
        // The first back-off of a permanent error is at least a second.
        advance(ms(100)).await;
        assert_eq!(setup.status(A).await, claims_refused());
    }
    assert_eq!(setup.endpoint.requested().len(), 3, "no further token request");
    assert_eq!(setup.api.count(), 2 + 8);
    assert_eq!(setup.status(PLAIN).await, (200, None));
}

// R7, C9
#[tokio::test(start_paused = true)]
async fn refused_claims_are_requested_again_after_the_back_off() {
    let is_granting = Arc::new(AtomicBool::new(false));
    let grants = is_granting.clone();
    let setup = Setup::new(Endpoint::new(move |_, claims| {
        if claims.is_empty() || grants.load(Ordering::SeqCst) { 200 } else { 400 }
    }))
    .await;
    assert_eq!(setup.status(A).await, replayed(401));
    is_granting.store(true, Ordering::SeqCst);
    // A permanent error is remembered for at most a minute.
    advance(secs(60)).await;
    assert_eq!(setup.status(A).await, replayed(200));
    assert_eq!(setup.endpoint.requested()[3..], [vec![NBF.to_owned()]]);
    assert_eq!(setup.status(A).await, (200, None), "the token with the claims stays");
}

// R7
#[tokio::test(start_paused = true)]
async fn an_hour_of_refused_claims_costs_no_other_request() {
    let setup = Setup::new(Endpoint::refusing()).await;
    for second in 0..3600 {
        assert_eq!(setup.status(A).await.0, 401, "after {second} s");
        assert_eq!(setup.status(PLAIN).await, (200, None), "after {second} s");
        sleep(secs(1)).await;
    }
    // The back-off soon lasts half a minute on average. Each try costs two token requests.
    let requested = setup.endpoint.requested();
    assert!((20..360).contains(&requested.len()), "{} token requests", requested.len());
}

// R7
#[tokio::test(start_paused = true)]
async fn claims_that_are_refused_together_are_requested_one_by_one() {
    // Issues no token with `nbf`.
    let refuses = |claims: &[String]| claims.iter().any(|claim| claim == NBF);
    let endpoint = Endpoint::new(move |_, claims| if refuses(claims) { 400 } else { 200 });
    // All of this takes less than a second, for which a refusal is remembered at least.
    let setup = Setup::new(endpoint.delayed(ms(100))).await;
    // All three requests are out with `token-1`. The two challenges arrive while the fetch for the
    // first rejection runs, so the next fetch requests the claims of both.
    let (plain, nbf, acrs) = tokio::join!(setup.send(REVOKING), setup.send(A), setup.send(B));
    assert_eq!(status(plain), replayed(200));
    assert_eq!((status(nbf), status(acrs)), (replayed(401), replayed(401)));
    let both = vec![ACRS.to_owned(), NBF.to_owned()];
    assert_eq!(setup.endpoint.requested(), [vec![], vec![], both, vec![]]);
    // The breaker is open for 100 ms.
    sleep(ms(200)).await;
    let reject_and_get = async {
        setup.tokens.get().await.unwrap().reject();
        setup.tokens.get().await.unwrap();
    };
    // Again the two challenges arrive while a fetch without their claims runs. The first caller
    // gives up, so the next fetch is that of the second one, whose claims are then the newest.
    let gives_up = timeout(ms(50), setup.send(A));
    let (nbf, acrs, ()) = tokio::join!(gives_up, setup.send(B), reject_and_get);
    assert!(nbf.is_err(), "gave up");
    assert_eq!(status(acrs), replayed(200));
    assert_eq!(setup.endpoint.requested()[4..], [vec![], vec![ACRS.to_owned()]]);
}

// R7
#[tokio::test(start_paused = true)]
async fn the_clients_own_claims_outlast_a_refusal() {
    let endpoint = Endpoint::new(|_, claims| match claims {
        [own] if own == "own" => 200,
        _ => 400,
    });
    let own = credentials().parameter("claims", claims("own").to_string());
    let setup = Setup::with_credentials(endpoint, own).await;
    assert_eq!(setup.status(A).await, replayed(401));
    let own = vec!["own".to_owned()];
    let both = vec![NBF.to_owned(), "own".to_owned()];
    assert_eq!(setup.endpoint.requested(), [own.clone(), both, own]);
}

// R7, R2
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_refuses_all_claims_gets_one_more_request() {
    let setup = Setup::new(Endpoint::new(|n, _| if n == 1 { 200 } else { 400 })).await;
    let error = setup.send(A).await.unwrap_err();
    let error = TokenError::find_in(&*error).unwrap();
    assert_eq!(error.kind(), TokenErrorKind::ErrorResponse);
    assert_eq!(error.rejected_response().unwrap().status(), 401);
    assert_eq!(setup.endpoint.requested(), [vec![], vec![NBF.to_owned()], vec![]]);
}

// R7, C3
#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_leaves_no_refused_claims_behind() {
    let setup = Setup::new(Endpoint::refusing().delayed(secs(1))).await;
    let limit = ms(500);
    assert!(timeout(limit, setup.send(A)).await.is_err(), "gave up");
    assert_eq!(setup.status(PLAIN).await, (200, None));
    assert_eq!(setup.endpoint.requested(), [vec![], vec![NBF.to_owned()], vec![]]);
}

/// A body that can be sent once.
struct Once;

impl tower_oauth2::replay::ReplayableBody for Once {
    type Kept = ();
    fn keep(&self) {}
    fn replay((): ()) -> Option<Self> {
        None
    }
}

// R7, R6
#[tokio::test(start_paused = true)]
async fn a_request_sent_once_leaves_no_refused_claims_behind() {
    let setup = Setup::new(Endpoint::refusing()).await;
    let api = setup.api.clone();
    let once = tower::service_fn(move |request: Request<Once>| {
        api.clone().oneshot(request.map(|_| Full::default()))
    });
    let request = Request::get(format!("https://{A}/")).body(Once).unwrap();
    let response = setup.layer.layer(once).oneshot(request).await;
    assert_eq!(status(response), (401, Some(Replayed::No(NotReplayed::Body))));
    settle().await;
    assert_eq!(setup.endpoint.requested(), [vec![], vec![NBF.to_owned()], vec![]]);
    assert_eq!(setup.status(PLAIN).await, (200, None));
    assert_eq!(setup.endpoint.requested().len(), 3, "the token is there already");
}
