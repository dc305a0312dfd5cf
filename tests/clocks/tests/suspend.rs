//! A token expires when the wall clock reaches its end, although the monotonic clock stopped.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_oauth2_clocks::replay::{ReplayPolicy, ReplayableLayer};
use tower_oauth2_clocks::{OAuth2Layer, Origins, RequestExt};

use crate::support::*;

fn policies() -> [ReplayPolicy; 3] {
    [ReplayPolicy::unauthorized(), ReplayPolicy::never(), ReplayPolicy::grpc_unauthenticated()]
}

fn layer(server: &ScriptedEndpoint) -> OAuth2Layer {
    OAuth2Layer::new(tokens(server), Origins::any())
}

/// Sends requests before and after a suspend that ends the token, and checks their tokens.
async fn check_requests<B>(server: &ScriptedEndpoint, api: &Api<B>, mut send: impl AsyncFnMut()) {
    // A service that is used again keeps a token from its second hit on.
    for _ in 0..4 {
        send().await;
    }
    suspend(61 * MINUTE);
    pass(WALL_CLOCK_INTERVAL).await;
    for _ in 0..2 {
        send().await;
    }
    let (before, after) = ("token-1", "token-2");
    assert_eq!(api.tokens(), [before, before, before, before, after, after]);
    assert_eq!(server.count(), 2);
}

// C5
#[tokio::test(start_paused = true)]
async fn get_fetches_a_new_token_after_a_suspend() {
    let server = hourly();
    let tokens = tokens(&server);
    for _ in 0..2 {
        assert_eq!(get(&tokens).await, "token-1");
    }
    suspend(61 * MINUTE);
    pass(WALL_CLOCK_INTERVAL).await;
    for _ in 0..2 {
        assert_eq!(get(&tokens).await, "token-2");
    }
    assert_eq!(server.count(), 2);
}

// C5
#[tokio::test(start_paused = true)]
async fn status_shows_no_token_after_a_suspend() {
    let server = hourly();
    let tokens = tokens(&server);
    get(&tokens).await;
    suspend(30 * MINUTE);
    let status = tokens.status();
    assert_eq!((status.is_usable(), status.time_left()), (true, Some(USABLE - 30 * MINUTE)));
    suspend(30 * MINUTE);
    assert!(!tokens.status().is_usable());
    assert_eq!(server.count(), 1);
}

// C5, C11
#[tokio::test(start_paused = true)]
async fn changes_notice_a_suspend_within_ten_seconds() {
    let server = hourly();
    let mut changes = tokens(&server).changes();
    assert_eq!(changes.next().await.unwrap().secret(), "token-1");
    let next = tokio::spawn(async move { changes.next().await.unwrap().secret().to_owned() });
    settle().await;
    suspend(61 * MINUTE);
    pass(10 * SECOND).await;
    settle().await;
    assert!(next.is_finished(), "the token has ended");
    assert_eq!(next.await.unwrap(), "token-2");
    assert_eq!(server.count(), 2);
}

// C5
#[tokio::test(start_paused = true)]
async fn hits_in_quick_succession_notice_a_suspend() {
    let server = hourly();
    let tokens = tokens(&server);
    let step = WALL_CLOCK_INTERVAL / 5;
    for _ in 0..20 {
        get(&tokens).await;
        pass(step).await;
    }
    suspend(61 * MINUTE);
    // No hit may prolong the interval without a look at the wall clock.
    for _ in 0..5 {
        get(&tokens).await;
        pass(step).await;
    }
    assert_eq!(get(&tokens).await, "token-2");
    assert_eq!(server.count(), 2);
}

// C5
#[tokio::test(start_paused = true)]
async fn cloned_services_send_a_new_token_after_a_suspend() {
    for policy in policies() {
        let (server, api) = (hourly(), api());
        let service = layer(&server).replay_policy(policy).layer(api.clone());
        check_requests(&server, &api, async || {
            service.clone().oneshot(request()).await.unwrap();
        })
        .await;
    }
}

// C5
#[tokio::test(start_paused = true)]
async fn a_reused_service_sends_a_new_token_after_a_suspend() {
    for policy in policies() {
        let (server, api) = (hourly(), api());
        let mut service = layer(&server).replay_policy(policy).layer(api.clone());
        check_requests(&server, &api, async || {
            service.ready().await.unwrap().call(request()).await.unwrap();
        })
        .await;
    }
}

// C5
#[tokio::test(start_paused = true)]
async fn requests_that_name_tokens_send_a_new_one_after_a_suspend() {
    for policy in policies() {
        let (server, api) = (hourly(), api());
        let named = tokens(&server);
        let layer = OAuth2Layer::per_request(Origins::any()).replay_policy(policy);
        let mut service = layer.layer(api.clone());
        check_requests(&server, &api, async || {
            let request = request().tokens(&named);
            service.ready().await.unwrap().call(request).await.unwrap();
        })
        .await;
    }
}

// C5
#[tokio::test(start_paused = true)]
async fn bodies_that_cannot_be_resent_get_a_new_token_too() {
    let (server, api) = (hourly(), api());
    let mut service = ServiceBuilder::new()
        .layer(ReplayableLayer::new().limit(1))
        .layer(layer(&server))
        .service(api.clone());
    check_requests(&server, &api, async || {
        let request = request().map(|_| "longer than the limit".to_owned());
        service.ready().await.unwrap().call(request).await.unwrap();
    })
    .await;
}

// C5
#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_its_api_sends_no_ended_token() {
    let (server, api) = (ScriptedEndpoint::new(|n| hour(n).after(SECOND)), api());
    let limit = Arc::new(Semaphore::new(1));
    let service = ServiceBuilder::new()
        .layer(layer(&server))
        .layer(GlobalConcurrencyLimitLayer::with_semaphore(limit.clone()))
        .service(api.clone());
    let response = tokio::spawn(service.oneshot(request()));
    settle().await;
    // The request waits for its token first, and then for the permit.
    let permit = limit.clone().acquire_owned().await.unwrap();
    pass(2 * SECOND).await;
    assert_eq!((server.count(), api.tokens().len()), (1, 0));
    suspend(61 * MINUTE);
    pass(WALL_CLOCK_INTERVAL).await;
    drop(permit);
    response.await.unwrap().unwrap();
    assert_eq!(api.tokens(), ["token-2"]);
}

// C5
#[tokio::test(start_paused = true)]
async fn a_short_suspend_brings_the_end_forward() {
    let server = hourly();
    let tokens = tokens_without_renewal(&server);
    get(&tokens).await;
    pass(10 * MINUTE).await;
    assert_eq!(get(&tokens).await, "token-1");
    suspend(30 * MINUTE);
    pass(USABLE - 40 * MINUTE - SECOND).await;
    assert_eq!(get(&tokens).await, "token-1");
    pass(SECOND).await;
    assert_eq!(get(&tokens).await, "token-2");
    assert_eq!(server.count(), 2);
}

// C5
#[tokio::test(start_paused = true)]
async fn many_short_suspends_add_up() {
    let server = hourly();
    let tokens = tokens_without_renewal(&server);
    for _ in 0..12 {
        assert_eq!(get(&tokens).await, "token-1");
        suspend(5 * MINUTE);
        pass(SECOND).await;
    }
    assert_eq!(get(&tokens).await, "token-2");
    assert_eq!(server.count(), 2);
}

// C5, C7
#[tokio::test(start_paused = true)]
async fn a_token_without_a_lifetime_outlives_a_suspend() {
    let server = ScriptedEndpoint::new(|n| Reply::token(format!("token-{n}")));
    let tokens = tokens(&server);
    get(&tokens).await;
    suspend(3650 * DAY);
    pass(WALL_CLOCK_INTERVAL).await;
    assert_eq!(get(&tokens).await, "token-1");
    assert_eq!(server.count(), 1);
}

// C5, C7
#[tokio::test(start_paused = true)]
async fn a_default_lifetime_ends_during_a_suspend() {
    let server = ScriptedEndpoint::new(|n| Reply::token(format!("token-{n}")));
    let credentials = credentials().default_expires_in(HOUR);
    let tokens = builder(&server).build().tokens(&credentials);
    get(&tokens).await;
    suspend(61 * MINUTE);
    pass(WALL_CLOCK_INTERVAL).await;
    assert_eq!(get(&tokens).await, "token-2");
    assert_eq!(server.count(), 2);
}
