//! Tests the gRPC status of calls for which no token is available.

use std::time::Duration;

use tonic::{Code, Status};
use tower_oauth2::grpc::AuthorizedChannel;
use tower_oauth2::testing::{Reply, ScriptedEndpoint};
use tower_oauth2::{
    ClientAuth, Credentials, OAuth2Layer, Origins, Secret, TokenEndpoint, TokenError,
    TokenErrorKind, Tokens,
};

use crate::server::{Refusal, Server};
use crate::{channel, check, endpoint, health, tokens};

fn origins() -> Origins {
    Origins::only("https://api.test").unwrap()
}

async fn status_of(layer: OAuth2Layer) -> Status {
    let server = Server::new();
    let status = health(AuthorizedChannel::new(server.clone(), layer)).check(check()).await;
    assert!(server.calls().is_empty());
    status.unwrap_err()
}

async fn status_of_tokens(tokens: Tokens) -> Status {
    status_of(OAuth2Layer::new(tokens, origins())).await
}

// R2
#[tokio::test(start_paused = true)]
async fn a_reply_of_the_token_endpoint_decides_about_the_status() {
    for (reply, expected) in [
        (Reply::error(401, "invalid_client"), Code::Unauthenticated),
        (Reply::error(400, "invalid_client"), Code::Unauthenticated),
        (Reply::error(400, "invalid_grant"), Code::Unauthenticated),
        (Reply::error(400, "unauthorized_client"), Code::Unauthenticated),
        (Reply::error(400, "access_denied"), Code::Unauthenticated),
        (Reply::error(403, "anything"), Code::Unauthenticated),
        (Reply::error(400, "invalid_scope"), Code::FailedPrecondition),
        (Reply::error(400, "invalid_request"), Code::FailedPrecondition),
        (Reply::error(404, "anything"), Code::FailedPrecondition),
        (Reply::error(503, "invalid_client"), Code::Unavailable),
        (Reply::error(429, "slow_down"), Code::Unavailable),
        (Reply::error(400, "temporarily_unavailable"), Code::Unavailable),
        (Reply::connection_error("refused"), Code::Unavailable),
        (Reply::no_response(), Code::Unavailable),
    ] {
        let status = status_of_tokens(tokens(&ScriptedEndpoint::in_order([reply.clone()]))).await;
        assert_eq!(status.code(), expected, "{reply:?}");
        let error = TokenError::find_in(&status).unwrap();
        assert_eq!(status.message(), error.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_this_side_decides_about_the_status() {
    let with_secret = |secret: Secret| {
        let auth = ClientAuth::client_secret_post("client-id", secret);
        let credentials = Credentials::new("https://auth.test/token", auth).unwrap();
        Tokens::new(credentials, TokenEndpoint::new(endpoint()))
    };
    let plain_http = {
        let credentials = Credentials::new("http://auth.test/token", ClientAuth::none("id"));
        Tokens::new(credentials.unwrap(), TokenEndpoint::new(endpoint()))
    };
    let refused = tokens(&ScriptedEndpoint::in_order([Reply::error(401, "invalid_client")]));
    for (tokens, kind, expected) in [
        (
            with_secret(Secret::file("/no/such/file")),
            TokenErrorKind::ClientAuthentication,
            Code::Unavailable,
        ),
        (
            with_secret(Secret::from(refused)),
            TokenErrorKind::ClientAuthentication,
            Code::Unauthenticated,
        ),
        (plain_http, TokenErrorKind::InsecureUri, Code::FailedPrecondition),
    ] {
        let status = status_of_tokens(tokens).await;
        assert_eq!(TokenError::find_in(&status).unwrap().kind(), kind);
        assert_eq!(status.code(), expected, "{status}");
    }
    let status = status_of(OAuth2Layer::per_request(origins())).await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(TokenError::find_in(&status).unwrap().kind(), TokenErrorKind::NoTokens);
}

#[test]
fn a_call_outside_of_a_runtime_is_an_internal_error() {
    let status = futures_util::FutureExt::now_or_never(status_of_tokens(tokens(&endpoint())));
    assert_eq!(status.unwrap().code(), Code::Internal);
}

// C9
#[tokio::test(start_paused = true)]
async fn a_call_is_unavailable_during_the_back_off_too() {
    let endpoint = ScriptedEndpoint::in_order([Reply::error(503, "server_error")]);
    let mut health = health(channel(&Server::new(), &endpoint));
    for _ in 0..3 {
        let status = health.check(check()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(TokenError::find_in(&status).unwrap().retry_in().is_some());
    }
    assert_eq!(endpoint.count(), 1);
    tokio::time::advance(Duration::from_secs(3600)).await;
    health.check(check()).await.unwrap_err();
    assert_eq!(endpoint.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lost_token_endpoint_after_a_rejection_is_unavailable() {
    let endpoint = ScriptedEndpoint::in_order([
        Reply::token("token-1").expires_in(Duration::from_secs(3600)),
        Reply::connection_error("refused"),
    ]);
    let server = Server::refusing(&["token-1"], Refusal::InHeaders);
    let status = health(channel(&server, &endpoint)).watch(check()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(TokenError::find_in(&status).unwrap().rejected_response().is_some());
}

#[tokio::test(start_paused = true)]
async fn the_servers_own_refusal_is_returned_as_it_is() {
    let server = Server::refusing(&["token-1", "token-2"], Refusal::InHeaders);
    let status = health(channel(&server, &endpoint())).check(check()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "refused"));
    assert!(TokenError::find_in(&status).is_none());
    assert_eq!(server.tokens(), ["token-1", "token-2"]);
}
