use tokio::time::advance;

use super::*;

// R7, C8
#[tokio::test(start_paused = true)]
async fn claims_of_a_later_rejection_reach_the_next_fetch() {
    let setup = Setup::new(Endpoint::new(|_, _| 200).delayed(secs(1))).await;
    // The first rejection requires nothing, and its fetch is out when the second one arrives.
    let (plain, with_claims) = tokio::join!(setup.send(REVOKING), setup.send(A));
    assert_eq!(status(plain), replayed(200));
    assert_eq!(status(with_claims), replayed(200), "resent with a token that has the claims");
    assert_eq!(setup.endpoint.requested().last().unwrap(), &[NBF]);
    assert!(setup.endpoint.requested().len() <= 3);
    assert_eq!(setup.status(A).await, (200, None));
}

// R7, C8
#[tokio::test(start_paused = true)]
async fn claims_of_two_rejections_end_in_one_token() {
    let setup = Setup::new(Endpoint::new(|_, _| 200).delayed(secs(1))).await;
    let (one, two) = tokio::join!(setup.send(A), setup.send(B));
    assert_eq!((status(one), status(two)), (replayed(200), replayed(200)));
    assert_eq!(setup.endpoint.requested().last().unwrap(), &[ACRS, NBF]);
    assert!(setup.endpoint.requested().len() <= 3);
    for host in [A, B, PLAIN] {
        assert_eq!(setup.status(host).await, (200, None), "{host}");
    }
}

// R7
#[tokio::test(start_paused = true)]
async fn two_apis_with_different_claims_share_one_token() {
    let setup = Setup::new(Endpoint::new(|_, _| 200)).await;
    for round in 0..20 {
        advance(secs(60)).await;
        for host in [A, B] {
            let expected = if round == 0 { replayed(200) } else { (200, None) };
            assert_eq!(setup.status(host).await, expected, "{host}, round {round}");
        }
    }
    let both = vec![ACRS.to_owned(), NBF.to_owned()];
    assert_eq!(setup.endpoint.requested(), [vec![], vec![NBF.to_owned()], both]);
}

// R7, C6
#[tokio::test(start_paused = true)]
async fn a_renewed_token_has_the_claims_too() {
    let setup = Setup::new(Endpoint::new(|_, _| 200)).await;
    assert_eq!(setup.status(A).await, replayed(200));
    for _ in 0..3 {
        // A token of an hour is renewed after 55 minutes at the latest.
        advance(secs(3301)).await;
        assert_eq!(setup.status(A).await, (200, None));
        settle().await;
        assert_eq!(setup.status(A).await, (200, None), "with the renewed token");
    }
    assert_eq!(setup.endpoint.requested().len(), 5);
}
