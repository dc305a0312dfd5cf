use std::time::Duration;

use http::{Response, StatusCode};
use http_body_util::Full;
use tokio::time::{Instant, sleep};
use tower::buffer::BufferLayer;
use tower::limit::{ConcurrencyLimitLayer, RateLimitLayer};
use tower::load_shed::LoadShedLayer;
use tower::load_shed::error::Overloaded;
use tower::retry::RetryLayer;
use tower::timeout::TimeoutLayer;
use tower::timeout::error::Elapsed;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_oauth2::{RequestExt, TokenCache, TokenError, Tokens};
use tower_test::mock;

use super::{
    HttpRequest, HttpResponse, Mocks, OnceMore, layer_over, miss_hit_and_replay, next, put, send,
    send_well, tokens,
};
use crate::support::{ScriptedSource, credentials, hour};

#[tokio::test(start_paused = true)]
async fn a_retry_inside_sends_again_with_the_same_token() {
    let mocks = Mocks::new();
    let mut stack = ServiceBuilder::new()
        .layer(mocks.layer())
        .layer(RetryLayer::new(OnceMore::default()))
        .service(mocks.api.clone());
    miss_hit_and_replay(&mocks, &mut stack).await;

    mocks.fail_next(1);
    assert_eq!(send_well(&mut stack).await, None);
    assert_eq!(mocks.seen()[5..], tokens([2, 2]));

    // The retry resends the replay.
    mocks.revoke();
    mocks.fail_next(1);
    assert!(send_well(&mut stack).await.is_some());
    assert_eq!(mocks.seen()[7..], tokens([2, 3, 3]));
    assert_eq!(mocks.token_requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_inside_does_not_count_the_wait_for_a_token() {
    let mocks = Mocks::new();
    let source = ScriptedSource::new(|n, _| async move {
        sleep(Duration::from_secs(5)).await;
        Ok(hour(n))
    });
    let mut stack = ServiceBuilder::new()
        .layer(layer_over(Tokens::new(credentials(), source)))
        .layer(TimeoutLayer::new(Duration::from_secs(1)))
        .service(mocks.api.clone());
    let started = Instant::now();
    send_well(&mut stack).await;
    mocks.state.lock().unwrap().revoked = 1;
    assert!(send_well(&mut stack).await.is_some());
    assert_eq!(started.elapsed().as_secs(), 10);
    assert_eq!(mocks.seen(), tokens([1, 1, 2]));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_inside_passes_on_miss_hit_and_replay() {
    let mocks = Mocks::new();
    let mut stack = ServiceBuilder::new()
        .layer(mocks.layer())
        .layer(TimeoutLayer::new(Duration::from_secs(1)))
        .service(mocks.api.clone());
    miss_hit_and_replay(&mocks, &mut stack).await;
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_timeout_inside_is_returned_and_costs_no_token() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let source = ScriptedSource::tokens(hour);
    let mut stack = ServiceBuilder::new()
        .layer(layer_over(Tokens::new(credentials(), source.clone())))
        .layer(TimeoutLayer::new(Duration::from_secs(1)))
        .service(api);

    let error = send(&mut stack).await.unwrap_err();
    assert!(error.is::<Elapsed>(), "{error:?}");
    assert!(TokenError::find_in(&*error).is_none());
    next(&mut requests).await;

    let healthy = stack.ready().await.unwrap().call(put());
    let (_, reply) = next(&mut requests).await;
    reply.send_response(Response::new(Full::default()));
    assert_eq!(healthy.await.unwrap().status(), StatusCode::OK);
    assert_eq!(source.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_inside_counts_api_requests_only() {
    const PERIOD: Duration = Duration::from_secs(10);
    let mocks = Mocks::new();
    let mut stack = ServiceBuilder::new()
        .layer(mocks.layer())
        .layer(BufferLayer::new(1))
        .layer(RateLimitLayer::new(1, PERIOD))
        .service(mocks.api.clone());
    let started = Instant::now();
    miss_hit_and_replay(&mocks, &mut stack).await;
    // Five requests to the API. The service was made ready once more, for the miss.
    assert_eq!(started.elapsed().as_secs(), 4 * PERIOD.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_inside_is_free_while_a_token_is_fetched() {
    let mocks = Mocks::new();
    let mut stack = ServiceBuilder::new()
        .layer(mocks.layer())
        .layer(ConcurrencyLimitLayer::new(1))
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
    assert_eq!(mocks.token_requests(), 3);
}

// R5
#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_a_token_does_not_block_others() {
    let mocks = Mocks::new();
    let source = ScriptedSource::new(|n, request| async move {
        // The second tenant's token server is slow.
        if *request.credentials() != credentials() {
            sleep(Duration::from_secs(100)).await;
        }
        Ok(hour(n))
    });
    let cache = TokenCache::new(source);
    let mut stack = ServiceBuilder::new()
        .layer(layer_over(cache.tokens(&credentials())))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(mocks.api.clone());

    let started = Instant::now();
    let slow = put().tokens(&cache.tokens(&credentials().audience("slow")));
    let slow = tokio::spawn(stack.ready().await.unwrap().call(slow));
    crate::support::settle().await;
    send_well(&mut stack).await;
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(slow.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(started.elapsed().as_secs(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_buffer_inside_serves_miss_hit_and_replay() {
    let mocks = Mocks::new();
    let mut stack = ServiceBuilder::new()
        .layer(mocks.layer())
        .layer(BufferLayer::new(1))
        .service(mocks.api.clone());
    miss_hit_and_replay(&mocks, &mut stack).await;
}

// R5
#[tokio::test(start_paused = true)]
async fn a_place_in_a_buffer_inside_is_free_while_a_token_is_fetched() {
    let mocks = Mocks::new();
    let stack = ServiceBuilder::new()
        .layer(mocks.layer())
        .layer(BufferLayer::new(1))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(mocks.api.clone());
    for round in 0..3 {
        let all: Vec<_> = (0..20)
            .map(|_| {
                let mut stack = stack.clone();
                tokio::spawn(async move { send_well(&mut stack).await })
            })
            .collect();
        for one in all {
            one.await.unwrap();
        }
        assert_eq!(mocks.token_requests(), round + 1);
        mocks.revoke();
    }
}

#[tokio::test(start_paused = true)]
async fn load_shed_inside_passes_on_miss_hit_and_replay() {
    let mocks = Mocks::new();
    let mut stack = ServiceBuilder::new()
        .layer(mocks.layer())
        .layer(LoadShedLayer::new())
        .layer(ConcurrencyLimitLayer::new(1))
        .service(mocks.api.clone());
    miss_hit_and_replay(&mocks, &mut stack).await;
}

#[tokio::test(start_paused = true)]
async fn load_shed_inside_sheds_and_costs_no_token() {
    let mocks = Mocks::new();
    let mut stack = ServiceBuilder::new()
        .layer(mocks.layer())
        .layer(LoadShedLayer::new())
        .layer(ConcurrencyLimitLayer::new(1))
        .service(mocks.api.clone());
    send_well(&mut stack).await;

    let busy = stack.ready().await.unwrap().call(put());
    let error = send(&mut stack.clone()).await.unwrap_err();
    assert!(error.is::<Overloaded>(), "{error:?}");
    assert!(TokenError::find_in(&*error).is_none());
    assert_eq!(busy.await.unwrap().status(), StatusCode::OK);
    send_well(&mut stack).await;
    assert_eq!((mocks.seen(), mocks.token_requests()), (tokens([1, 1, 1]), 1));
}
