use std::time::Duration;

use tokio::time::sleep;
use tower_oauth2_testkit::seed;
use tower_oauth2_testkit::servers::{Proxy, Redis, run_on};

use super::{CACHES, Load, Trace};

/// The most token requests without a store, in a round that begins with a revocation. Each cache
/// makes one.
const ALONE: usize = CACHES;

/// Returns a load whose clients have shared tokens.
async fn warm(redis: &Redis) -> Load {
    let load = Load::new(redis);
    assert_eq!(load.round().await, 1);
    assert_eq!(load.renewal().await, 1);
    load
}

/// Checks that the store failed for one of the reasons.
fn assert_failed(trace: &Trace, reasons: &[&str]) {
    let lines = trace.lines();
    let mut failures = lines.iter().filter(|line| line.contains("the token store failed"));
    assert!(
        failures.any(|line| reasons.iter().any(|reason| line.contains(&format!("error={reason}")))),
        "{reasons:?} is not in {lines:#?}"
    );
    assert!(!lines.iter().any(|line| line.contains("token-")), "{lines:#?}");
}

/// Checks that no operation of the store has failed.
fn assert_no_failure(trace: &Trace) {
    let failed = trace.lines().into_iter().find(|line| line.contains("failed"));
    assert_eq!(failed, None);
}

/// Runs rounds with a failing store, and asserts that all requests succeed. Each cache makes at
/// most one token request.
async fn assert_no_request_fails(load: &Load) {
    for _ in 0..5 {
        let asked = load.renewal().await;
        assert!((1..=ALONE).contains(&asked), "{asked} token requests");
        assert_eq!(load.round().await, 0);
    }
}

#[tokio::test]
async fn a_stopped_server_fails_no_request() {
    let (trace, _guard) = Trace::start();
    let redis = Redis::start().await;
    let load = warm(&redis).await;
    redis.pause();
    assert_eq!(load.renewal().await, ALONE);
    assert_no_request_fails(&load).await;
    assert_failed(&trace, &["no answer within the deadline"]);
    redis.resume();
    load.recovers(&trace).await;
}

#[tokio::test]
async fn a_server_that_stops_briefly_fails_no_request() {
    let redis = Redis::start().await;
    let load = warm(&redis).await;
    let moments = async {
        for _ in 0..10 {
            redis.pause();
            sleep(Duration::from_millis(50)).await;
            redis.resume();
            sleep(Duration::from_millis(20)).await;
        }
    };
    let rounds = async {
        loop {
            assert!(load.renewal().await <= ALONE);
        }
    };
    tokio::select! {
        () = moments => {}
        () = rounds => {}
    }
}

#[tokio::test]
async fn a_server_may_restart_without_its_data() {
    let (trace, _guard) = Trace::start();
    let redis = Redis::start().await;
    let load = warm(&redis).await;
    let killed = redis.kill();
    assert_eq!(load.renewal().await, ALONE);
    assert_no_request_fails(&load).await;
    assert_failed(&trace, &["Redis: the connection was lost", "Redis: the connection was refused"]);
    let _redis = killed.restart().await;
    load.recovers(&trace).await;
}

#[tokio::test]
async fn a_server_may_be_killed_during_requests() {
    let (trace, _guard) = Trace::start();
    let mut redis = Redis::start().await;
    let load = Load::new(&redis);
    seed();
    for _ in 0..3 {
        let kills = async {
            sleep(Duration::from_millis(fastrand::u64(..20))).await;
            let killed = redis.kill();
            sleep(Duration::from_millis(fastrand::u64(..20))).await;
            let restarted = killed.restart().await;
            // The next kill, or the end, comes while rounds use the server again.
            sleep(Duration::from_millis(fastrand::u64(..20))).await;
            restarted
        };
        let rounds = async {
            loop {
                assert!(load.renewal().await <= ALONE);
            }
        };
        redis = tokio::select! {
            redis = kills => redis,
            () = rounds => unreachable!(),
        };
    }
    load.recovers(&trace).await;
}

#[tokio::test]
async fn a_full_server_fails_no_request() {
    let (trace, _guard) = Trace::start();
    let redis = Redis::start().await;
    let load = warm(&redis).await;
    redis.run::<()>("CONFIG SET maxmemory 1").await;
    assert_eq!(load.renewal().await, ALONE);
    assert_no_request_fails(&load).await;
    assert_failed(&trace, &["Redis: OOM"]);
    redis.run::<()>("CONFIG SET maxmemory 0").await;
    load.recovers(&trace).await;
}

#[tokio::test]
async fn a_server_may_become_a_read_only_replica() {
    let (trace, _guard) = Trace::start();
    let (redis, primary) = (Redis::start().await, Redis::start().await);
    let load = warm(&redis).await;
    redis.run::<()>(&format!("REPLICAOF 127.0.0.1 {}", primary.port())).await;
    assert_no_request_fails(&load).await;
    assert_failed(&trace, &["Redis: READONLY"]);
    redis.run::<()>("REPLICAOF NO ONE").await;
    load.recovers(&trace).await;
}

#[tokio::test]
async fn a_server_may_start_to_require_a_password() {
    let (trace, _guard) = Trace::start();
    let redis = Redis::start().await;
    let load = warm(&redis).await;
    let mut inside = redis.connect().await;
    run_on::<()>(&mut inside, "CONFIG SET requirepass s3cr3t").await;
    run_on::<()>(&mut inside, "CLIENT KILL TYPE normal").await;
    assert_no_request_fails(&load).await;
    assert_failed(&trace, &["Redis: NOAUTH"]);
    run_on::<()>(&mut inside, "CONFIG SET requirepass ").await;
    load.recovers(&trace).await;
}

#[tokio::test]
async fn a_server_may_have_too_many_clients() {
    let (trace, _guard) = Trace::start();
    let redis = Redis::start().await;
    let load = warm(&redis).await;
    let mut inside = redis.connect().await;
    run_on::<()>(&mut inside, "CONFIG SET maxclients 1").await;
    run_on::<()>(&mut inside, "CLIENT KILL TYPE normal").await;
    assert_no_request_fails(&load).await;
    assert_failed(&trace, &["Redis: "]);
    run_on::<()>(&mut inside, "CONFIG SET maxclients 1000").await;
    load.recovers(&trace).await;
}

#[tokio::test]
async fn a_server_may_lose_all_keys() {
    let (trace, _guard) = Trace::start();
    let redis = Redis::start().await;
    let load = warm(&redis).await;
    for _ in 0..5 {
        redis.run::<()>("FLUSHALL").await;
        assert_eq!(load.round().await, 0, "each cache has its token");
        redis.run::<()>("SCRIPT FLUSH").await;
        assert_eq!(load.renewal().await, 1);
    }
    // During requests, including leases.
    for _ in 0..20 {
        let flush = async {
            for _ in 0..3 {
                redis.run::<()>("FLUSHALL").await;
            }
        };
        let (asked, ()) = tokio::join!(load.renewal(), flush);
        assert!((1..=ALONE).contains(&asked), "{asked} token requests");
    }
    assert_no_failure(&trace);
}

// S6
#[tokio::test]
async fn a_server_may_close_idle_connections() {
    let (trace, _guard) = Trace::start();
    let redis = Redis::start().await;
    let load = warm(&redis).await;
    for _ in 0..5 {
        redis.run::<u64>("CLIENT KILL TYPE normal").await;
        assert_eq!(load.renewal().await, 1);
    }
    assert_no_failure(&trace);
}

// S6
#[tokio::test]
async fn a_network_may_drop_connections() {
    let (trace, _guard) = Trace::start();
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.port()).await;
    let load = Load::at(&proxy.url());
    assert_eq!(load.round().await, 1);
    proxy.stall();
    assert_eq!(load.renewal().await, ALONE);
    assert_failed(&trace, &["no answer within the deadline"]);
    load.recovers(&trace).await;
    assert_eq!(proxy.accepted(), 2 * CACHES);
}

// S6
#[tokio::test]
async fn another_server_may_take_over() {
    let (trace, _guard) = Trace::start();
    let (old, new) = (Redis::start().await, Redis::start().await);
    let proxy = Proxy::start(old.port()).await;
    let load = Load::at(&proxy.url());
    assert_eq!(load.round().await, 1);
    new.replicate(&old).await;
    new.run::<()>("REPLICAOF NO ONE").await;
    old.run::<()>(&format!("REPLICAOF 127.0.0.1 {}", new.port())).await;
    proxy.lead_to(new.port());
    for _ in 0..5 {
        assert_eq!(load.renewal().await, 1);
    }
    assert_no_failure(&trace);
}
