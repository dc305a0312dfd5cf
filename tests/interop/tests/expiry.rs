//! Expiry of tokens. The tests do not wait: they move the clock of the server or of the client.

use std::time::Duration;

use serde_json::Value;
use tower_oauth2::OAuth2;
use tower_oauth2::replay::Replayed;

use crate::client::{Answer, Client, send};
use crate::server::Server;

/// The lifetime of tokens. Those for resources live half as long.
const LIFETIME: Duration = Duration::from_secs(600);

struct Caller<'a> {
    server: &'a Server,
    api: OAuth2<Client>,
    client_id: String,
    path: String,
}

impl<'a> Caller<'a> {
    fn new(server: &'a Server, name: &str) -> Self {
        let client = server.client(name);
        let api = server.api(server.credentials(client.basic()));
        Self { server, api, client_id: client.id, path: format!("/plain/{name}") }
    }

    async fn get(&self) -> Answer {
        let answer = send(self.api.clone(), self.server.get(&self.path)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer
    }

    async fn token_requests(&self) -> usize {
        self.server.token_statuses(&self.client_id).await.len()
    }

    /// Returns each token that the API has received, in the order of first use.
    async fn tokens(&self) -> Vec<Value> {
        let mut tokens: Vec<_> = self.server.api_log(&self.path).await;
        tokens.iter_mut().for_each(|entry| *entry = entry["token"].take());
        tokens.dedup();
        tokens
    }
}

/// Moves the clock of the client, and resumes it.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_token_is_replaced_before_the_server_calls_it_expired() {
    let server = Server::oidc_provider_alone();
    let caller = Caller::new(&server, "expired");
    caller.get().await;
    // Both clocks agree.
    server.control(&format!("clock?ahead={}", LIFETIME.as_secs())).await;
    pass(LIFETIME).await;
    let answer = caller.get().await;
    assert_eq!(answer.replayed, None);
    assert_eq!(caller.token_requests().await, 2);
    assert_eq!(caller.tokens().await.len(), 2);
    assert_eq!(server.api_statuses(&caller.path).await, [200, 200]);
}

#[tokio::test]
async fn a_token_that_expires_at_the_server_first_is_replayed() {
    let server = Server::oidc_provider_alone();
    let caller = Caller::new(&server, "expired-at-the-server");
    caller.get().await;
    server.control(&format!("clock?ahead={}", LIFETIME.as_secs() + 1)).await;
    let answer = caller.get().await;
    assert_eq!(answer.replayed, Some(Replayed::Yes));
    assert_eq!(caller.token_requests().await, 2);
    assert_eq!(server.api_statuses(&caller.path).await, [200, 401, 200]);
}

#[tokio::test]
async fn a_jwt_that_expires_at_the_api_first_costs_one_replay() {
    let server = Server::oidc_provider_alone();
    let client = server.client("expired-jwt");
    let resource = server.told("/resources/jwt");
    let api = server.api(server.credentials(client.basic()).resource(resource));
    let get = async || send(api.clone(), server.get("/jwt/expired")).await;
    assert_eq!(get().await.status, 200);
    // The API decodes the expiry from the token.
    server.control(&format!("clock?ahead={}", LIFETIME.as_secs() / 2 + 1)).await;
    for replayed in [Some(Replayed::Yes), None] {
        let answer = get().await;
        assert_eq!((answer.status.as_u16(), answer.replayed), (200, replayed));
        assert_eq!(answer.body["aud"], resource);
    }
    assert_eq!(server.token_statuses(&client.id).await, [200, 200]);
    let seen = server.api_log("/jwt/expired").await;
    let statuses: Vec<_> = seen.iter().map(|entry| entry["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 401, 200, 200]);
    assert!(seen[1]["why"].as_str().unwrap().contains("exp"), "{}", seen[1]);
}

#[tokio::test]
async fn a_token_is_renewed_while_requests_use_it() {
    let server = Server::oidc_provider();
    let caller = Caller::new(server, "renewed");
    caller.get().await;
    // The renewal happens in the last fifth of the lifetime.
    pass(LIFETIME * 5 / 6).await;
    caller.get().await;
    assert_eq!(caller.tokens().await.len(), 1, "the request did not wait for the new one");
    while caller.tokens().await.len() < 2 {
        assert!(caller.get().await.replayed.is_none());
        assert!(server.api_statuses(&caller.path).await.len() < 1000, "the new one is never used");
    }
    assert_eq!(caller.token_requests().await, 2);
}
