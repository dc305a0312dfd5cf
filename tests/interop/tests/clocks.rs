//! A server whose clock differs: assertions and proofs follow the `Date` of its refusal.

use tower_oauth2::jwt::DpopKey;
use tower_oauth2::{ClientAuth, TokenEndpoint, Tokens};

use crate::client::{http, send};
use crate::dpop::{is_bound, key, tokens};
use crate::server::Server;

/// Asserts the statuses of the token requests for two tokens. The client authenticates with a JWT
/// that lives for a minute.
async fn assert_token_requests(ahead: i64, name: &str, first: &[u64]) {
    let server = Server::oidc_provider_alone();
    server.control(&format!("clock?ahead={ahead}")).await;
    let auth = ClientAuth::private_key_jwt(name, server.key(name));
    let tokens = Tokens::new(server.credentials(auth), TokenEndpoint::new(http()));
    let api = server.api_with(tokens, |layer| layer);
    assert_eq!(send(api.clone(), server.get("/plain/clock")).await.status, 200);
    assert_eq!(server.token_statuses(name).await, first);
    // The offset is known now.
    assert_eq!(send(api, server.get("/plain/clock?refuse")).await.status, 401);
    assert_eq!(server.token_statuses(name).await, [first, &[200]].concat());
}

#[tokio::test]
async fn an_assertion_for_a_server_that_is_ahead() {
    assert_token_requests(300, "assertion-late", &[401, 200]).await;
}

/// The server accepts a JWT that was issued in its future.
#[tokio::test]
async fn an_assertion_for_a_server_that_is_behind() {
    assert_token_requests(-300, "assertion-early", &[200]).await;
}

/// Sends a request twice although this machine's clock differs from the API's. The server tolerates
/// five minutes, and the API half a minute.
async fn proofs_go_through(ahead: i64, name: &str) {
    let server = Server::oidc_provider_alone();
    server.control(&format!("clock?ahead={ahead}")).await;
    let key = key();
    let api = server.api_with(tokens(&server, name, &key), |layer| layer);
    for _ in 0..2 {
        let answer = send(api.clone(), server.get("/plain/clock")).await;
        is_bound(&answer, &key);
        assert_eq!(answer.replayed, None);
    }
    assert_eq!(server.token_statuses(name).await, [200]);
    assert_eq!(server.api_statuses("/plain/clock").await, [401, 200, 200]);
    assert_eq!(server.api_log("/plain/clock").await[0]["why"], "iat is not recent");
}

#[tokio::test]
async fn proofs_for_an_api_that_is_ahead() {
    proofs_go_through(200, "dpop-late").await;
}

#[tokio::test]
async fn proofs_for_an_api_that_is_behind() {
    proofs_go_through(-200, "dpop-early").await;
}

#[tokio::test]
async fn an_assertion_and_a_proof_that_are_both_too_old() {
    let server = Server::oidc_provider_alone();
    // More than the server tolerates. The clock that the refused assertion shows is used for the
    // proof too.
    server.control("clock?ahead=400").await;
    let name = "dpop-private-key-jwt-late";
    let key: DpopKey = key();
    let auth = ClientAuth::private_key_jwt(name, server.key(name));
    let credentials = server.credentials(auth).dpop(key.clone());
    let tokens = Tokens::new(credentials, TokenEndpoint::new(http()));
    let api = server.api_with(tokens, |layer| layer);
    is_bound(&send(api.clone(), server.get("/plain/clock")).await, &key);
    assert_eq!(server.token_statuses(name).await, [401, 200]);
    assert_eq!(server.api_statuses("/plain/clock").await, [401, 200]);

    assert_eq!(send(api, server.get("/plain/clock?refuse")).await.status, 401);
    assert_eq!(server.token_statuses(name).await, [401, 200, 200]);
}
