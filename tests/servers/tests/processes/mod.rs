//! Real processes that share one server.

mod authority;
mod fleet;
mod worker;

use std::time::Duration;

use tokio::time::sleep_until;
use tower_oauth2_testkit::servers::Redis;

use self::authority::Authority;
use self::fleet::{Fleet, Worker};
use self::worker::Step;

const HOUR: Duration = Duration::from_secs(3600);

/// A lease that does not end early on a slow machine.
const SHORT: Duration = Duration::from_secs(10);

const LEASE: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn thirty_two_processes_share_one_token_request() {
    let redis = Redis::start().await;
    let authority = Authority::start(SHORT).await;
    let mut fleet = Fleet::start(32, &redis, &authority, LEASE).await;

    // Without a token.
    fleet.go().await;
    assert_eq!(authority.token_requests(), 1);
    assert_eq!(authority.accepted(), 32);
    fleet.go().await;
    assert_eq!(authority.token_requests(), 1, "each has the token now");

    // After the expiry of the token.
    authority.grant(HOUR);
    sleep_until(authority.last_issue() + SHORT).await;
    fleet.go().await;
    assert_eq!(authority.token_requests(), 2);

    // After the revocation of the token.
    authority.revoke();
    assert_eq!(authority.rejected(), 0);
    fleet.go().await;
    assert_eq!(authority.rejected(), 32, "each has seen that the token was revoked");
    assert_eq!(authority.token_requests(), 3);
    assert_eq!(authority.accepted(), 4 * 32);

    // A new process finds the token.
    let mut newcomer = Fleet::start(1, &redis, &authority, LEASE).await;
    newcomer.go().await;
    assert_eq!(authority.token_requests(), 3);
}

// S6
#[tokio::test(flavor = "multi_thread")]
async fn processes_share_tokens_although_connections_are_closed() {
    let redis = Redis::start().await;
    let authority = Authority::start(HOUR).await;
    let mut fleet = Fleet::start(3, &redis, &authority, LEASE).await;
    for token_requests in 1..=5 {
        fleet.go().await;
        assert_eq!(authority.token_requests(), token_requests);
        authority.revoke();
        assert_eq!(redis.run::<u64>("CLIENT KILL TYPE normal").await, 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_holder_delays_the_others_for_one_lease() {
    for (step, token_requests) in [
        (Step::BeforeLock, 1),
        (Step::AfterLock, 1),
        (Step::TokenRequest, 2),
        (Step::AfterReplace, 1),
    ] {
        let redis = Redis::start().await;
        let authority = Authority::start(HOUR).await;
        let mut holder = Worker::spawn(&redis, &authority, LEASE, Some(step));
        holder.hear("ready").await;
        let mut fleet = Fleet::start(8, &redis, &authority, LEASE).await;
        holder.say("go");
        holder.hear("parked").await;
        fleet.begin();
        drop(holder);
        fleet.end().await;
        assert_eq!(authority.accepted(), 8, "{step:?}");
        assert_eq!(authority.token_requests(), token_requests, "{step:?}");
    }
}
