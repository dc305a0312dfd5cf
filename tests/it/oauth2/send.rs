use std::time::Duration;

use http::StatusCode;
use tokio::time::timeout;
use tower::buffer::{Buffer, BufferLayer};
use tower::limit::{ConcurrencyLimit, ConcurrencyLimitLayer};
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_oauth2::{OAuth2, OAuth2Layer, TokenErrorKind, Tokens};
use tower_test::mock;

use super::{HttpRequest, HttpResponse, kind, origins};
use crate::support::{Api, ScriptedSource, credentials, get, hour, settle};

fn layer(source: &ScriptedSource) -> OAuth2Layer {
    OAuth2Layer::new(Tokens::new(credentials(), source.clone()), origins())
}

#[tokio::test(start_paused = true)]
async fn send_waits_until_its_clone_is_ready() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let service = layer(&ScriptedSource::tokens(hour)).layer(api);
    service.tokens().unwrap().warm().await.unwrap();
    requests.allow(0);
    let sent = tokio::spawn(service.send(get("/")));
    settle().await;
    assert!(requests.poll_request().is_pending());

    requests.allow(1);
    let (request, reply) = requests.next_request().await.unwrap();
    assert_eq!(request.headers()["authorization"], "Bearer token-1");
    reply.send_response(HttpResponse::default());
    assert_eq!(sent.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn send_does_not_use_up_the_readiness_of_its_service() {
    let limit = ConcurrencyLimitLayer::new(1);
    let mut service = layer(&ScriptedSource::tokens(hour)).layer(limit.layer(Api::always(200)));
    service.tokens().unwrap().warm().await.unwrap();
    // The service that was made ready holds the only permit.
    service.ready().await.unwrap();
    let mut sent = tokio_test::task::spawn(service.send(get("/")));
    assert!(sent.poll().is_pending());
    assert_eq!(service.call(get("/")).await.unwrap().status(), StatusCode::OK);
    assert_eq!(sent.await.unwrap().status(), StatusCode::OK);
}

/// Sends many requests at once, some of which are dropped, through one permit or place.
async fn assert_shared<S>(service: OAuth2<S>)
where
    S: Service<HttpRequest, Response = HttpResponse, Error: Into<BoxError>> + Clone,
    S: Send + 'static,
    S::Future: Send,
{
    let all: Vec<_> = (0..30).map(|_| tokio::spawn(service.send(get("/")))).collect();
    for dropped in all.iter().step_by(3) {
        dropped.abort();
    }
    for (n, one) in all.into_iter().enumerate().filter(|(n, _)| n % 3 != 0) {
        let ended = timeout(Duration::from_secs(3600), one).await.expect("deadlock");
        assert_eq!(ended.unwrap().unwrap().status(), StatusCode::OK, "{n}");
    }
    assert_eq!(service.send(get("/")).await.unwrap().status(), StatusCode::OK);
}

// R5
#[tokio::test(start_paused = true)]
async fn many_sends_share_a_concurrency_limit_inside() {
    let source = ScriptedSource::tokens(hour);
    let api = ConcurrencyLimit::new(Api::always(200), 1);
    assert_shared(layer(&source).layer(api)).await;
    assert_eq!(source.count(), 1);
}

// R5
#[tokio::test(start_paused = true)]
async fn many_sends_share_a_buffer_inside() {
    let source = ScriptedSource::tokens(hour);
    let api = Buffer::new(ConcurrencyLimit::new(Api::always(200), 1), 1);
    assert_shared(layer(&source).layer(api)).await;
    assert_eq!(source.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn services_behind_outer_layers_share_tokens_with_send() {
    let source = ScriptedSource::tokens(hour);
    let service = layer(&source).layer(Api::accepting(|token| token == "token-2"));
    let buffered = BufferLayer::new(1).layer(service.clone());
    let limited = ConcurrencyLimitLayer::new(1).layer(service.clone());
    for _ in 0..3 {
        assert_eq!(buffered.clone().oneshot(get("/")).await.unwrap().status(), StatusCode::OK);
        assert_eq!(limited.clone().oneshot(get("/")).await.unwrap().status(), StatusCode::OK);
        assert_eq!(service.send(get("/")).await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(source.count(), 2);
}

// R2
#[tokio::test(start_paused = true)]
async fn send_returns_errors_of_the_service_and_token_errors() {
    let (api, mut requests) = mock::pair::<HttpRequest, HttpResponse>();
    let service = layer(&ScriptedSource::tokens(hour)).layer(api);
    service.tokens().unwrap().warm().await.unwrap();
    requests.send_error("the connection is closed");
    let error = service.send(get("/")).await.unwrap_err();
    assert_eq!(error.to_string(), "the connection is closed");

    let source = ScriptedSource::new(|_, _| async { Err("no".into()) });
    let service = layer(&source).layer(Api::always(200));
    assert_eq!(kind(service.send(get("/")).await), TokenErrorKind::Source);
}

#[tokio::test(start_paused = true)]
async fn send_creates_a_future_that_does_not_borrow_the_service() {
    let service = layer(&ScriptedSource::tokens(hour)).layer(Api::always(200));
    let sent = service.send(get("/"));
    drop(service);
    assert_eq!(sent.await.unwrap().status(), StatusCode::OK);
}
