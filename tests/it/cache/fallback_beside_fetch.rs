//! C12: a rejected token while a fetch runs that may replace it.

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceExt};
use tower_oauth2::{OAuth2Layer, Origins, Tokens};
use tower_test::mock;

use crate::support::*;

type Body = Full<Bytes>;

/// Accepts every token.
const HEALTHY: &str = "healthy.test";
/// Rejects `token-1`.
const STRICT: &str = "strict.test";

fn layer(tokens: &Tokens) -> OAuth2Layer {
    let origins = [HEALTHY, STRICT].map(|host| format!("https://{host}"));
    OAuth2Layer::new(tokens.clone(), Origins::only(origins).unwrap())
}

fn request(host: &str) -> Request<Body> {
    Request::get(format!("https://{host}/")).body(Full::default()).unwrap()
}

/// Creates the APIs at both hosts.
fn apis() -> Api {
    Api::new(|request| {
        let is_first = request.headers()[AUTHORIZATION] == "Bearer token-1";
        let is_rejected = is_first && request.uri().host() == Some(STRICT);
        let status = if is_rejected { 401 } else { 200 };
        Response::builder().status(status).body(Full::default()).unwrap()
    })
}

// C12, R5
#[tokio::test(start_paused = true)]
async fn a_token_that_was_rejected_before_the_send_is_not_sent() {
    let source = ScriptedSource::new(|n, _| async move {
        if n > 1 {
            sleep(secs(5)).await;
        }
        Ok(hour(n))
    });
    let tokens = tokens(&source);
    let (healthy, mut calls) = mock::pair::<Request<Body>, Response<Body>>();
    let mut service = layer(&tokens).layer(healthy);
    calls.allow(1);
    let service = service.ready().await.unwrap();
    calls.allow(0);
    // This request has `token-1`, and waits for its API.
    let sent = tokio::spawn(service.call(request(HEALTHY)));
    settle().await;
    assert_eq!(source.count(), 1);

    let rejected = tokio::spawn(layer(&tokens).layer(apis()).oneshot(request(STRICT)));
    settle().await;
    assert_eq!(source.count(), 2, "a fetch runs");
    calls.allow(1);
    let start = Instant::now();
    let (request, reply) = calls.next_request().await.unwrap();
    assert_eq!(request.headers()[AUTHORIZATION], "Bearer token-2");
    assert_eq!(start.elapsed(), secs(5));
    reply.send_response(Response::default());
    assert_eq!(sent.await.unwrap().unwrap().status(), 200);
    assert_eq!(rejected.await.unwrap().unwrap().status(), 200);
    assert_eq!(source.count(), 2);
}

// C12, C3
#[test]
fn the_first_waiter_replaces_a_silent_fetch() {
    let source = ScriptedSource::new(|n, _| async move {
        if n == 2 {
            std::future::pending::<()>().await;
        }
        Ok(hour(n))
    });
    let tokens = tokens(&source);
    let api = apis();
    let send = |host| layer(&tokens).layer(api.clone()).oneshot(request(host));
    let (stopped, driven) = (paused_runtime(), paused_runtime());
    stopped.block_on(async {
        tokens.get().await.unwrap();
        tokio::spawn(send(STRICT));
        settle().await;
    });
    assert_eq!(source.count(), 2, "the fetch runs on a runtime that stops");

    driven.block_on(async {
        let start = Instant::now();
        assert_eq!(send(HEALTHY).await.unwrap().status(), 200);
        let waited = start.elapsed();
        assert!(waited >= secs(1) && waited < ms(1500), "{waited:?}");
        assert_eq!(source.count(), 3, "the waiter has started another fetch");
        assert_eq!(send(HEALTHY).await.unwrap().status(), 200);
        assert_eq!(start.elapsed(), waited, "the next request does not wait");
    });
    // No failure shows that no replacement is available, so no other origin gets `token-1`.
    assert_eq!(api.tokens(), ["token-1", "token-3", "token-3"]);
}
