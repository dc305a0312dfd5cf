//! Tests that the timeout of a call bounds its wait for a token.

use std::time::Duration;

use tokio::time::Instant;
use tonic::{Code, Request};
use tower_oauth2::testing::{Reply, ScriptedEndpoint};
use tower_oauth2::{TokenError, TokenErrorKind};

use crate::server::{Refusal, Server};
use crate::{channel, check, health};

/// Returns an endpoint that answers after 10 s, from the request `slow` on.
fn slow_from(slow: usize) -> ScriptedEndpoint {
    ScriptedEndpoint::new(move |n| {
        let token = Reply::token(format!("token-{n}")).expires_in(Duration::from_secs(3600));
        if n < slow { token } else { token.after(Duration::from_secs(10)) }
    })
}

// R5
#[tokio::test(start_paused = true)]
async fn a_call_waits_for_a_token_until_its_timeout() {
    let (server, endpoint) = (Server::new(), slow_from(1));
    let mut health = health(channel(&server, &endpoint));
    let mut request = Request::new(check());
    request.set_timeout(Duration::from_millis(1500));
    let start = Instant::now();
    let status = health.check(request).await.unwrap_err();
    assert_eq!(start.elapsed().as_millis(), 1500);
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(TokenError::find_in(&status).unwrap().kind(), TokenErrorKind::Timeout);
    assert!(server.calls().is_empty());

    // The token arrives for the next call (C3).
    tokio::time::sleep(Duration::from_secs(9)).await;
    health.watch(check()).await.unwrap();
    assert_eq!((server.tokens(), endpoint.count()), (vec!["token-1".to_owned()], 1));
}

// R5
#[tokio::test(start_paused = true)]
async fn a_stream_waits_for_its_second_token_until_its_timeout() {
    let server = Server::refusing(&["token-1"], Refusal::InHeaders);
    let mut request = Request::new(check());
    request.set_timeout(Duration::from_millis(1500));
    let start = Instant::now();
    let status = health(channel(&server, &slow_from(2))).watch(request).await.unwrap_err();
    assert_eq!(start.elapsed().as_millis(), 1500);
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let error = TokenError::find_in(&status).unwrap();
    assert_eq!(error.rejected_response().unwrap().headers()["grpc-status"], "16");
}
