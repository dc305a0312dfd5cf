//! Tokens of `django-oauth-toolkit`, and an API that accepts them.

use serde_json::json;
use tower_oauth2::replay::{ReplayPolicy, Replayed};
use tower_oauth2::{ClientAuth, TokenEndpoint, TokenError, TokenErrorKind, Tokens};

use crate::client::{http, send, try_send};
use crate::server::Server;

/// Asserts that the API accepts the client, and that the server knows the token.
async fn assert_accepted(name: &str, auth: impl Fn(&str, &str) -> ClientAuth) {
    let server = Server::django_oauth_toolkit();
    let client = server.client(name);
    let credentials = server.credentials(auth(&client.id, &client.secret));
    let tokens = Tokens::new(credentials, TokenEndpoint::new(http()));
    let path = format!("/api/bearer/{name}");
    let answer = send(server.api_with(tokens.clone(), |layer| layer), server.get(&path)).await;
    assert_eq!((answer.status.as_u16(), answer.replayed), (200, None));
    assert_eq!(server.token_statuses(&client.id).await, [200]);
    assert_eq!(server.api_statuses(&path).await, [200]);
    let token = tokens.get().await.unwrap();
    assert_eq!(server.introspect(token.secret()).await["client_id"], *client.id);
}

fn basic(id: &str, secret: &str) -> ClientAuth {
    ClientAuth::client_secret_basic(id, secret)
}

fn post(id: &str, secret: &str) -> ClientAuth {
    ClientAuth::client_secret_post(id, secret)
}

#[tokio::test]
async fn basic_with_an_ordinary_secret() {
    assert_accepted("basic", basic).await;
}

#[tokio::test]
async fn post_with_an_ordinary_secret() {
    assert_accepted("post", post).await;
}

#[tokio::test]
async fn basic_with_every_printable_character() {
    assert_accepted("odd-basic", basic).await;
}

#[tokio::test]
async fn post_with_every_printable_character() {
    assert_accepted("odd-post", post).await;
}

#[tokio::test]
async fn basic_with_other_scripts() {
    assert_accepted("not-latin-basic", basic).await;
}

#[tokio::test]
async fn post_with_other_scripts() {
    assert_accepted("not-latin-post", post).await;
}

#[tokio::test]
async fn a_wrong_secret_is_a_typed_error_that_holds_no_secret() {
    const WRONG: &str = "never-to-be-seen: a+b%";
    let server = Server::django_oauth_toolkit();
    let client = server.client("wrong-secret");
    for auth in [basic(&client.id, WRONG), post(&client.id, WRONG)] {
        let api = server.api(server.credentials(auth));
        let request = server.get("/api/bearer/wrong-secret").body(Default::default()).unwrap();
        let error = try_send(api, request).await.err().unwrap();
        let error = TokenError::find_in(&*error).expect("a TokenError is among the sources");
        assert_eq!(error.kind(), TokenErrorKind::ErrorResponse);
        assert_eq!(error.status().unwrap(), 401);
        assert_eq!(error.error_code(), Some("invalid_client"));
        let text = format!("{error} {error:?} {error:#?}");
        assert!(!text.contains("never-to-be-seen"), "{text}");
    }
    assert_eq!(server.token_statuses(&client.id).await, [401, 401]);
    assert!(server.api_statuses("/api/bearer/wrong-secret").await.is_empty());
}

#[tokio::test]
async fn scopes_are_granted_or_a_typed_error() {
    let server = Server::django_oauth_toolkit();
    let client = server.client("scoped");
    let credentials = server.credentials(client.basic());
    let tokens = |scope| Tokens::new(credentials.clone().scope(scope), TokenEndpoint::new(http()));
    let token = tokens("write read").get().await.unwrap();
    assert_eq!(token.scope(), Some("write read"));
    assert_eq!(token.lifetime().unwrap().as_secs(), 600);
    let error = tokens("read delete").get().await.unwrap_err();
    assert_eq!(
        (error.status().unwrap().as_u16(), error.error_code()),
        (400, Some("invalid_scope"))
    );
}

#[tokio::test]
async fn a_token_is_valid_for_its_resource() {
    let server = Server::django_oauth_toolkit();
    let client = server.client("resource");
    let resource = format!("{}/api/bearer/resource", server.told("/api"));
    let credentials = server.credentials(client.basic()).resource(&resource);
    let tokens = Tokens::new(credentials, TokenEndpoint::new(http()));
    let api = server.api_with(tokens.clone(), |layer| layer);
    let told = server.introspect(tokens.get().await.unwrap().secret()).await;
    assert_eq!(told["aud"], json!([resource]));
    let answer = send(api.clone(), server.get("/api/bearer/resource")).await;
    assert_eq!(answer.status, 200);
    let answer = send(api, server.get("/api/bearer/another")).await;
    assert_eq!((answer.status.as_u16(), answer.replayed), (401, Some(Replayed::Yes)));
}

/// Asserts that a revoked token is replaced at an API that answers with `status`.
async fn is_healed(name: &str, kind: &str, status: u64, policy: ReplayPolicy) {
    let server = Server::django_oauth_toolkit();
    let client = server.client(name);
    let tokens = Tokens::new(server.credentials(client.basic()), TokenEndpoint::new(http()));
    let api = server.api_with(tokens.clone(), |layer| layer.replay_policy(policy));
    let path = format!("/api/{kind}/{name}");
    assert_eq!(send(api.clone(), server.get(&path)).await.status, 200);

    let revoked = tokens.get().await.unwrap();
    server.revoke(&client, revoked.secret()).await;
    assert_eq!(server.introspect(revoked.secret()).await["active"], false);

    let answer = send(api.clone(), server.get(&path)).await;
    assert_eq!((answer.status.as_u16(), answer.replayed), (200, Some(Replayed::Yes)));
    assert_eq!(send(api, server.get(&path)).await.replayed, None);
    assert_eq!(server.token_statuses(&client.id).await, [200, 200]);
    assert_eq!(server.api_statuses(&path).await, [200, status, 200, 200]);
}

#[tokio::test]
async fn a_revoked_token_is_replaced_by_one_replay() {
    is_healed("revoked", "bearer", 401, ReplayPolicy::invalid_token()).await;
}

#[tokio::test]
async fn a_revoked_token_is_replaced_where_the_api_sends_403() {
    is_healed("forbidden", "forbidden", 403, ReplayPolicy::statuses([403])).await;
}
