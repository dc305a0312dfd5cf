//! Tests that the deadline of a gRPC call bounds the wait for a token.

use std::task::Poll;
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use tokio::time::Instant;
use tonic::body::Body;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::{BoxError, ServiceBuilder, service_fn};
use tower_oauth2::replay::{ReplayBody, ReplayableLayer};
use tower_oauth2::{AccessToken, OAuth2Layer, TokenError, TokenErrorKind, Tokens};

use super::{kind, origins};
use crate::support::{Api, ScriptedSource, get, hour, ms, secs, tokens};

const GRPC_TIMEOUT: &str = "grpc-timeout";

/// Creates a source whose responses take 10 s each.
fn slow() -> ScriptedSource {
    ScriptedSource::new(|n, _| async move {
        tokio::time::sleep(secs(10)).await;
        Ok(hour(n))
    })
}

fn with_timeout(timeout: &'static str) -> super::HttpRequest {
    let mut request = get("/");
    request.headers_mut().insert(GRPC_TIMEOUT, HeaderValue::from_static(timeout));
    request
}

fn layer(source: &ScriptedSource) -> OAuth2Layer {
    OAuth2Layer::new(tokens(source), origins())
}

// R5
#[tokio::test(start_paused = true)]
async fn a_grpc_timeout_bounds_the_wait_for_a_token() {
    for (timeout, expected) in [
        ("1S", secs(1)),
        ("00000001S", secs(1)),
        ("200m", ms(200)),
        ("300000u", ms(300)),
        ("40000000n", ms(40)),
        ("0S", Duration::ZERO),
    ] {
        let (api, source) = (Api::always(200), slow());
        let service = layer(&source).layer(api.clone());
        let start = Instant::now();
        let result = service.send(with_timeout(timeout)).await;
        let error = result.unwrap_err();
        let error = TokenError::find_in(&*error).unwrap();
        assert_eq!(error.kind(), TokenErrorKind::Timeout, "{timeout}");
        assert!(error.to_string().contains("grpc-timeout"), "{error}");
        assert_eq!(start.elapsed().as_millis(), expected.as_millis(), "{timeout}");
        // The token arrives for the next call (C3).
        tokio::time::sleep(secs(11)).await;
        service.send(with_timeout("0S")).await.unwrap();
        assert_eq!((api.tokens(), source.count()), (vec!["token-1".to_owned()], 1));
    }
}

// R5
#[tokio::test(start_paused = true)]
async fn a_long_or_malformed_grpc_timeout_does_not_shorten_the_wait() {
    for timeout in [
        "1M",
        "1H",
        "11S",
        "99999999H",
        "",
        "S",
        "1",
        "1s",
        "-1S",
        "+1S",
        " 1S",
        "1.5S",
        "1 S",
        "000000001S",
        "1SS",
        "m1",
    ] {
        let (api, source) = (Api::always(200), slow());
        layer(&source).layer(api.clone()).send(with_timeout(timeout)).await.unwrap();
        assert_eq!(api.tokens(), ["token-1"], "{timeout}");
        assert_eq!(api.requests()[0].headers()[GRPC_TIMEOUT], timeout);
    }
}

// R2, R5: the wait for the second token ends when the first wait would have ended.
#[tokio::test(start_paused = true)]
async fn a_grpc_timeout_bounds_the_wait_after_a_rejection() {
    let source = ScriptedSource::new(|n, _| async move {
        tokio::time::sleep(if n == 1 { ms(700) } else { secs(10) }).await;
        Ok(hour(n))
    });
    let api = Api::always(401);
    let service = layer(&source).layer(api.clone());
    let start = Instant::now();
    let error = service.send(with_timeout("1S")).await.unwrap_err();
    let error = TokenError::find_in(&*error).unwrap();
    assert_eq!(error.kind(), TokenErrorKind::Timeout);
    assert_eq!(error.rejected_response().unwrap().status(), 401);
    assert_eq!((start.elapsed(), api.count()), (secs(1), 1));
}

// R5: fixed tokens need no fetch, and so no runtime.
#[test]
fn a_grpc_timeout_needs_no_runtime_for_a_fixed_token() {
    let tokens = Tokens::fixed(AccessToken::new("fixed").unwrap());
    let service = OAuth2Layer::new(tokens, origins()).layer(Api::always(200));
    let mut call = tokio_test::task::spawn(service.send(with_timeout("1S")));
    assert!(matches!(call.poll(), Poll::Ready(Ok(_))));

    // A token that has to be fetched needs one, with the same error as without the header.
    let service = layer(&ScriptedSource::tokens(hour)).layer(Api::always(200));
    let mut call = tokio_test::task::spawn(service.send(with_timeout("1S")));
    let Poll::Ready(result) = call.poll() else { panic!("the call waits") };
    assert_eq!(kind(result), TokenErrorKind::NoRuntime);
}

// R5
#[tokio::test(start_paused = true)]
async fn the_timeout_of_a_tonic_request_bounds_the_wait_for_a_token() {
    let inner = service_fn(|_: Request<ReplayBody<Body>>| async {
        Err::<Response<Body>, BoxError>("the call waits for a token".into())
    });
    let stack = ServiceBuilder::new()
        .layer(ReplayableLayer::new())
        .layer(OAuth2Layer::new(tokens(&slow()), super::origins()))
        .service(inner);
    let mut client = HealthClient::with_origin(stack, "https://api.test".parse().unwrap());
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    request.set_timeout(ms(1500));
    let start = Instant::now();
    let status = client.check(request).await.unwrap_err();
    assert_eq!(TokenError::find_in(&status).unwrap().kind(), TokenErrorKind::Timeout);
    assert_eq!(start.elapsed().as_millis(), 1500);
}
