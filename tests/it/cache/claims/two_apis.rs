//! The claims of one API are granted, and those of another are refused.

use std::collections::BTreeMap;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;

/// Refuses [`NBF`] and grants all other claims.
fn endpoint() -> Endpoint {
    Endpoint::new(|_, claims| if claims.iter().any(|claim| claim == NBF) { 400 } else { 200 })
}

// R7
#[tokio::test(start_paused = true)]
async fn the_second_challenge_with_refused_claims_is_returned_at_once() {
    let setup = Setup::new(endpoint().delayed(ms(50))).await;
    assert_eq!(setup.status(B).await, replayed(200));
    // The breaker lets the first rejection of a young token count only after 100 ms.
    sleep(secs(1)).await;
    assert_eq!(setup.status(A).await, replayed(401));
    let requested = setup.endpoint.requested().len();
    let start = Instant::now();
    assert_eq!(setup.status(A).await, claims_refused());
    assert!(start.elapsed() < ms(10), "the API takes 2 ms");
    assert_eq!(setup.endpoint.requested().len(), requested);
    assert_eq!(setup.status(B).await, (200, None), "the token has kept the granted claims");
}

/// Sends 50 requests a second to [`A`] and [`B`] for two minutes. Counts the responses.
async fn two_minutes_of_both(setup: &Setup) -> BTreeMap<String, usize> {
    let mut requests = JoinSet::new();
    for _ in 0..120 * 50 {
        for host in [A, B] {
            let response = setup.send(host);
            requests.spawn(async move { format!("{host}: {:?}", status(response.await)) });
        }
        sleep(ms(20)).await;
    }
    let mut responses = BTreeMap::new();
    for response in requests.join_all().await {
        *responses.entry(response).or_default() += 1;
    }
    responses
}

// R7, R8
#[tokio::test(start_paused = true)]
async fn an_api_with_granted_claims_does_not_notice_refused_ones() {
    // A token that is older than 30 s is not young any more.
    for age in [1, 60] {
        for delay in [50, 1000] {
            let setup = Setup::new(endpoint().delayed(ms(delay))).await;
            assert_eq!(setup.status(B).await, replayed(200));
            sleep(secs(age)).await;
            let responses = two_minutes_of_both(&setup).await;
            let case = format!("{age} s, {delay} ms: {responses:?}");
            let accepted = format!("{B}: {:?}", (200, None::<Replayed>));
            assert_eq!(responses[&accepted], 120 * 50, "{case}");
            // Whenever a refusal has been forgotten, requests to A wait for the next one, or the
            // breaker is open.
            let is_refused = |response: &String| response.starts_with(&format!("{A}: (401, "));
            let refused = responses.iter().filter(|(response, _)| is_refused(response));
            assert_eq!(refused.map(|(_, count)| count).sum::<usize>(), 120 * 50, "{case}");
        }
    }
}
