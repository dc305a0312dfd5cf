//! Revoked tokens, at `oidc-provider` (RFC 7009, RFC 7662).

use http::Method;
use serde_json::Value;
use tower_oauth2::replay::Replayed;
use tower_oauth2::{TokenEndpoint, Tokens};

use crate::client::{http, send, try_send};
use crate::server::Server;

#[tokio::test]
async fn an_upload_with_a_revoked_token_is_replayed() {
    const BODY: &[u8] = &[b'x'; 100_000];
    let server = Server::oidc_provider();
    let client = server.client("revoked");
    let tokens = Tokens::new(server.credentials(client.basic()), TokenEndpoint::new(http()));
    let api = server.api_with(tokens.clone(), |layer| layer);
    let upload = async || {
        let request = server.get("/plain/revoked").method(Method::PUT).body(BODY.into()).unwrap();
        try_send(api.clone(), request).await.unwrap()
    };
    assert_eq!(upload().await.status, 200);

    let revoked = tokens.get().await.unwrap();
    assert_eq!(server.introspect(revoked.secret()).await["active"], true);
    server.revoke(&client, revoked.secret()).await;
    assert_eq!(server.introspect(revoked.secret()).await["active"], false);

    let answer = upload().await;
    assert_eq!((answer.status.as_u16(), answer.replayed), (200, Some(Replayed::Yes)));
    assert_eq!(answer.body["method"], "PUT");
    assert_eq!(answer.body["body"]["length"], BODY.len());
    let answer = upload().await;
    assert_eq!((answer.status.as_u16(), answer.replayed), (200, None));

    assert_eq!(server.token_statuses(&client.id).await, [200, 200]);
    assert_eq!(server.api_statuses("/plain/revoked").await, [200, 401, 200, 200]);
    let seen = server.api_log("/plain/revoked").await;
    assert!(seen.iter().all(|entry| entry["body"] == seen[0]["body"]), "{seen:?}");
    let used: Vec<&Value> = seen.iter().map(|entry| &entry["token"]).collect();
    assert!(used[0] == used[1] && used[1] != used[2] && used[2] == used[3], "{used:?}");
}

#[tokio::test]
async fn many_requests_with_a_revoked_token_cost_one_token_request() {
    let server = Server::oidc_provider();
    let client = server.client("revoked-at-once");
    let tokens = Tokens::new(server.credentials(client.basic()), TokenEndpoint::new(http()));
    let api = server.api_with(tokens.clone(), |layer| layer);
    server.revoke(&client, tokens.get().await.unwrap().secret()).await;
    let requests = (0..32).map(|_| send(api.clone(), server.get("/plain/revoked-at-once")));
    for answer in futures_util::future::join_all(requests).await {
        assert_eq!(answer.status, 200);
    }
    assert_eq!(server.token_statuses(&client.id).await, [200, 200]);
    let mut seen = server.api_statuses("/plain/revoked-at-once").await;
    seen.sort_unstable();
    assert_eq!(seen.iter().filter(|&&status| status == 200).count(), 32);
    assert!(seen.len() <= 64, "one replay each at most: {seen:?}");
}

#[tokio::test]
async fn an_api_that_rejects_all_tokens_causes_no_flood() {
    let server = Server::oidc_provider();
    let client = server.client("refused");
    let api = server.api(server.credentials(client.basic()));
    let answer = send(api.clone(), server.get("/plain/refused?refuse")).await;
    assert_eq!((answer.status.as_u16(), answer.replayed), (401, Some(Replayed::Yes)));
    assert_eq!(server.token_statuses(&client.id).await, [200, 200]);
    assert_eq!(server.api_statuses("/plain/refused").await, [401, 401]);
    // One request at a time tries whether the API accepts tokens again.
    let requests = (0..32).map(|_| send(api.clone(), server.get("/plain/refused?refuse")));
    for answer in futures_util::future::join_all(requests).await {
        assert_eq!(answer.status, 401);
        assert!(answer.replayed.is_some());
    }
    let token_requests = server.token_statuses(&client.id).await.len();
    assert!(token_requests <= 5, "{token_requests} for 33 requests");
}
