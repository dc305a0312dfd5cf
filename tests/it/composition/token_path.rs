use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Response, StatusCode};
use http_body_util::Full;
use tokio::time::Instant;
use tower::buffer::BufferLayer;
use tower::buffer::error::ServiceError;
use tower::limit::{ConcurrencyLimitLayer, RateLimitLayer};
use tower::load_shed::LoadShedLayer;
use tower::retry::RetryLayer;
use tower::timeout::TimeoutLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_oauth2::source::{Cause, TokenRetry};
use tower_oauth2::{AccessToken, TokenEndpoint, TokenError, TokenErrorKind, TokenRequest, Tokens};
use tower_test::mock;

use super::{
    HttpMock, HttpRequest, HttpResponse, Mocks, layer_over, miss_hit_and_replay, next, send,
    send_well, tokens,
};
use crate::support::credentials;

/// Creates a token endpoint that returns these statuses in order, and then 200. `None` is no
/// response.
fn endpoint(answers: &'static [Option<u16>]) -> (HttpMock, Arc<AtomicUsize>) {
    let (http, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Some((_, reply)) = requests.next_request().await {
            let n = counter.fetch_add(1, Ordering::SeqCst);
            let Some(status) = answers.get(n).copied().unwrap_or(Some(200)) else {
                held.push(reply);
                continue;
            };
            let body = if status == 200 { r#"{"access_token":"token-1"}"# } else { "{}" };
            let mut response = Response::new(Full::from(body));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            reply.send_response(response);
        }
    });
    (http, count)
}

/// Creates a source that sends one HTTP request for each token request.
fn single(http: HttpMock) -> TokenEndpoint {
    TokenEndpoint::new(http).retry(TokenRetry::none())
}

// alf 5, 6
#[tokio::test(start_paused = true)]
async fn a_retry_on_the_token_path_retries_the_token_request_only() {
    let mocks = Mocks::new();
    let (http, count) = endpoint(&[Some(500), Some(500)]);
    let source = ServiceBuilder::new()
        .layer(RetryLayer::new(TokenRetry::new(5).statuses([500])))
        .service(single(http));
    let mut stack = layer_over(Tokens::new(credentials(), source)).layer(mocks.api.clone());
    send_well(&mut stack).await;
    assert_eq!(count.load(Ordering::SeqCst), 3);
    assert_eq!(mocks.seen(), tokens([1]));

    // A 503 from the API is not retried.
    mocks.fail_next(1);
    assert_eq!(send(&mut stack).await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_on_the_token_path_has_a_kind_of_token_error() {
    let mocks = Mocks::new();
    let (http, count) = endpoint(&[None, None]);
    let source = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(3)))
        .service(single(http));
    let mut stack = layer_over(Tokens::new(credentials(), source)).layer(mocks.api.clone());
    let started = Instant::now();
    let error = send(&mut stack).await.unwrap_err();
    let error = TokenError::find_in(&*error).unwrap();
    assert_eq!((error.kind(), started.elapsed().as_secs()), (TokenErrorKind::Timeout, 3));
    assert!(error.is_transient());
    assert_eq!((count.load(Ordering::SeqCst), mocks.seen()), (1, tokens([])));
}

#[tokio::test(start_paused = true)]
async fn retry_timeout_and_buffer_compose_on_the_token_path() {
    let mocks = Mocks::new();
    let (http, count) = endpoint(&[Some(503), None, Some(500)]);
    let source = ServiceBuilder::new()
        .layer(BufferLayer::new(1))
        .layer(RetryLayer::new(TokenRetry::new(3).backoff(Duration::ZERO)))
        .layer(TimeoutLayer::new(Duration::from_secs(3)))
        .service(single(http));
    let mut stack = layer_over(Tokens::new(credentials(), source)).layer(mocks.api.clone());
    let started = Instant::now();
    send_well(&mut stack).await;
    assert_eq!(count.load(Ordering::SeqCst), 4);
    // The timeout applies to each try.
    assert_eq!(started.elapsed().as_secs(), 3);
}

// C9
#[tokio::test(start_paused = true)]
async fn the_last_error_is_found_through_retry_and_buffer() {
    let mocks = Mocks::new();
    let (http, count) = endpoint(&[Some(503), Some(502)]);
    let source = ServiceBuilder::new()
        .layer(BufferLayer::new(1))
        .layer(RetryLayer::new(TokenRetry::new(1)))
        .service(single(http));
    let mut stack = layer_over(Tokens::new(credentials(), source)).layer(mocks.api.clone());
    let error = send(&mut stack).await.unwrap_err();
    let error = TokenError::find_in(&*error).unwrap();
    assert_eq!(error.kind(), TokenErrorKind::ErrorResponse);
    assert_eq!(error.status(), Some(StatusCode::BAD_GATEWAY));
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

/// A source that fails with a `TokenError` when it is made ready.
struct Broken(TokenError);

impl Service<TokenRequest> for Broken {
    type Response = AccessToken;
    type Error = TokenError;
    type Future = Ready<Result<AccessToken, TokenError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TokenError>> {
        Poll::Ready(Err(self.0.clone()))
    }

    fn call(&mut self, _: TokenRequest) -> Self::Future {
        ready(Err(self.0.clone()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_error_is_found_in_the_error_of_a_buffer() {
    let (http, _) = endpoint(&[Some(500)]);
    let request = TokenRequest::new(credentials());
    let cause = single(http).oneshot(request.clone()).await.unwrap_err();
    let source = BufferLayer::new(1).layer(Broken(cause));

    let wrapped = source.clone().oneshot(request).await.unwrap_err();
    assert!(wrapped.is::<ServiceError>(), "{wrapped:?}");
    assert_eq!(TokenError::find_in(&*wrapped).unwrap().status().unwrap(), 500);

    let mocks = Mocks::new();
    let mut stack = layer_over(Tokens::new(credentials(), source)).layer(mocks.api.clone());
    let error = send(&mut stack).await.unwrap_err();
    let error = TokenError::find_in(&*error).unwrap();
    assert_eq!(error.kind(), TokenErrorKind::ErrorResponse);
    assert_eq!(error.status().unwrap(), 500);
}

#[tokio::test(start_paused = true)]
async fn all_layers_compose_on_the_token_path() {
    let mocks = Mocks::new();
    let source = ServiceBuilder::new()
        .layer(BufferLayer::new(1))
        .layer(RateLimitLayer::new(1, Duration::from_secs(1)))
        .layer(LoadShedLayer::new())
        .layer(ConcurrencyLimitLayer::new(1))
        .layer(RetryLayer::new(TokenRetry::new(1)))
        .layer(TimeoutLayer::new(Duration::from_secs(1)))
        .service(mocks.source.clone());
    let tokens = Tokens::new(credentials(), source);
    let mut stack = layer_over(tokens).layer(mocks.api.clone());
    miss_hit_and_replay(&mocks, &mut stack).await;
}

// The source is made ready for each token request, which has its cause.
#[tokio::test(start_paused = true)]
async fn a_source_that_is_not_ready_is_waited_for() {
    let mocks = Mocks::new();
    let (source, mut requests) = mock::pair::<TokenRequest, AccessToken>();
    requests.allow(0);
    let mut stack = layer_over(Tokens::new(credentials(), source)).layer(mocks.api.clone());
    let sent = tokio::spawn(async move { send_well(&mut stack).await });
    crate::support::settle().await;
    assert!(requests.poll_request().is_pending());
    requests.allow(1);
    let (request, reply) = next(&mut requests).await;
    assert_eq!(request.cause(), Cause::Cold);
    reply.send_response(crate::support::hour(1));
    sent.await.unwrap();
}
