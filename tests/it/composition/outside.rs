use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep};
use tower::buffer::BufferLayer;
use tower::limit::{ConcurrencyLimitLayer, RateLimitLayer};
use tower::load_shed::LoadShedLayer;
use tower::load_shed::error::Overloaded;
use tower::retry::RetryLayer;
use tower::timeout::TimeoutLayer;
use tower::timeout::error::Elapsed;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_oauth2::{TokenError, Tokens};

use super::{Mocks, OnceMore, layer_over, miss_hit_and_replay, put, send, send_well, tokens};
use crate::support::{ScriptedSource, credentials, hour, settle};

#[tokio::test(start_paused = true)]
async fn a_retry_outside_resends_after_failures_but_not_rejections() {
    let mocks = Mocks::new();
    let mut stack = ServiceBuilder::new()
        .layer(RetryLayer::new(OnceMore::default()))
        .layer(mocks.layer())
        .service(mocks.api.clone());
    miss_hit_and_replay(&mocks, &mut stack).await;

    mocks.fail_next(1);
    assert_eq!(send_well(&mut stack).await, None);
    assert_eq!(mocks.seen()[5..], tokens([2, 2]));

    // The replay fails with a 503. The second try is another request with the new token.
    mocks.revoke();
    mocks.fail_next(1);
    assert_eq!(send_well(&mut stack).await, None);
    assert_eq!(mocks.seen()[7..], tokens([2, 3, 3]));
    assert_eq!(mocks.token_requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_outside_passes_on_miss_hit_and_replay() {
    let mocks = Mocks::new();
    let mut stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(1)))
        .layer(mocks.layer())
        .service(mocks.api.clone());
    miss_hit_and_replay(&mocks, &mut stack).await;
}

// C3
#[tokio::test(start_paused = true)]
async fn a_timeout_outside_does_not_cancel_the_fetch() {
    let mocks = Mocks::new();
    let source = ScriptedSource::new(|n, _| async move {
        sleep(Duration::from_secs(5)).await;
        Ok(hour(n))
    });
    let mut stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(1)))
        .layer(layer_over(Tokens::new(credentials(), source.clone())))
        .service(mocks.api.clone());

    let started = Instant::now();
    let error = send(&mut stack).await.unwrap_err();
    assert!(error.is::<Elapsed>(), "{error:?}");
    assert_eq!(started.elapsed().as_secs(), 1);
    assert_eq!((source.count(), mocks.seen()), (1, tokens([])));

    // The second request waits for the same token request, which still takes five seconds in total.
    sleep(Duration::from_millis(3500)).await;
    send_well(&mut stack).await;
    assert_eq!(started.elapsed().as_secs(), 5);
    send_well(&mut stack).await;
    assert_eq!((source.count(), mocks.seen()), (1, tokens([1, 1])));

    // After a rejection, the fetch for the replay continues although the replay was dropped.
    mocks.state.lock().unwrap().revoked = 1;
    assert!(send(&mut stack).await.unwrap_err().is::<Elapsed>());
    sleep(Duration::from_secs(5)).await;
    assert_eq!(source.count(), 2);
    assert_eq!(send_well(&mut stack).await, None);
    assert_eq!((source.count(), mocks.seen()), (2, tokens([1, 1, 1, 2])));
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_outside_counts_a_replayed_request_once() {
    const PERIOD: Duration = Duration::from_secs(10);
    let mocks = Mocks::new();
    let mut stack = ServiceBuilder::new()
        .layer(RateLimitLayer::new(1, PERIOD))
        .layer(mocks.layer())
        .service(mocks.api.clone());
    let started = Instant::now();
    miss_hit_and_replay(&mocks, &mut stack).await;
    // Four requests, of which the third was replayed.
    assert_eq!(started.elapsed().as_secs(), 3 * PERIOD.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_outside_is_held_by_one_request_at_a_time() {
    let mocks = Mocks::new();
    let mut stack = ServiceBuilder::new()
        .layer(ConcurrencyLimitLayer::new(1))
        .layer(mocks.layer())
        .service(mocks.api.clone());
    miss_hit_and_replay(&mocks, &mut stack).await;
    mocks.revoke();
    let all: Vec<_> = (0..20)
        .map(|_| {
            let mut stack = stack.clone();
            tokio::spawn(async move { send_well(&mut stack).await })
        })
        .collect();
    for one in all {
        one.await.unwrap();
    }
    // The requests are sent one after the other, so only the first has its token rejected.
    assert_eq!(mocks.seen().len(), 5 + 20 + 1);
    assert_eq!(mocks.token_requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_buffer_outside_serves_many_callers_at_once() {
    let mocks = Mocks::new();
    let mut stack = ServiceBuilder::new()
        .layer(BufferLayer::new(1))
        .layer(mocks.layer())
        .service(mocks.api.clone());
    miss_hit_and_replay(&mocks, &mut stack).await;
}

#[tokio::test(start_paused = true)]
async fn a_token_error_is_found_through_a_buffer_outside() {
    let mocks = Mocks::new();
    let source = ScriptedSource::new(|_, _| async { Err("no more tokens".into()) });
    let mut stack = ServiceBuilder::new()
        .layer(BufferLayer::new(1))
        .layer(layer_over(Tokens::new(credentials(), source)))
        .service(mocks.api.clone());
    let error = send(&mut stack).await.unwrap_err();
    let error = TokenError::find_in(&*error).unwrap();
    assert_eq!(
        error.to_string(),
        "no token from https://auth.test: the source of tokens failed; check source()"
    );
    assert_eq!(mocks.seen(), tokens([]));
}

#[tokio::test(start_paused = true)]
async fn load_shed_outside_ignores_requests_that_wait_for_a_token() {
    let mocks = Mocks::new();
    let source = ScriptedSource::new(|n, _| async move {
        sleep(Duration::from_secs(5)).await;
        Ok(hour(n))
    });
    let mut stack = ServiceBuilder::new()
        .layer(LoadShedLayer::new())
        .layer(layer_over(Tokens::new(credentials(), source)))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(mocks.api.clone());

    // A request that waits for a token holds no permit, so no request is shed.
    let waiting = stack.ready().await.unwrap().call(put());
    let waiting = tokio::spawn(waiting);
    settle().await;
    send_well(&mut stack).await;
    assert_eq!(waiting.await.unwrap().unwrap().status(), StatusCode::OK);

    // A request that is in flight holds the permit.
    let busy = stack.ready().await.unwrap().call(put());
    let error = send(&mut stack).await.unwrap_err();
    assert!(error.is::<Overloaded>(), "{error:?}");
    assert_eq!(busy.await.unwrap().status(), StatusCode::OK);
    send_well(&mut stack).await;
}

#[tokio::test(start_paused = true)]
async fn load_shed_outside_passes_on_miss_hit_and_replay() {
    let mocks = Mocks::new();
    let mut stack = ServiceBuilder::new()
        .layer(LoadShedLayer::new())
        .layer(mocks.layer())
        .service(mocks.api.clone());
    miss_hit_and_replay(&mocks, &mut stack).await;
}
