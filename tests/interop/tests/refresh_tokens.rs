//! Refresh tokens at servers that rotate them. At `oidc-provider`, a second use of a refresh token
//! revokes the grant.

use std::sync::{Arc, Mutex};

use tower_oauth2::grant::RefreshToken;
use tower_oauth2::replay::Replayed;
use tower_oauth2::{TokenEndpoint, TokenError, Tokens};

use crate::client::{Answer, http, post_form, send, try_send};
use crate::server::{Registered, Server};

/// Returns a refresh token for this client at `django-oauth-toolkit`, by the password grant.
async fn authorize(server: &Server, client: &Registered) -> String {
    let form = [
        ("grant_type", "password"),
        ("username", server.told("/user/name")),
        ("password", server.told("/user/password")),
        ("scope", "read"),
    ];
    let answer = post_form(server.told("/token_endpoint"), client, &form).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["refresh_token"].as_str().unwrap().to_owned()
}

/// Returns a refresh token for this client at `oidc-provider`, without a user who signs in.
async fn grant(server: &Server, client: &Registered) -> String {
    let granted = server.control(&format!("grant?to={}", client.id)).await;
    granted.as_str().unwrap().to_owned()
}

async fn ask_with(server: &Server, client: &Registered, refresh_token: &str) -> Answer {
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
    post_form(server.told("/token_endpoint"), client, &form).await
}

/// The persisted refresh tokens, in order.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<Vec<String>>>);

impl Disk {
    fn refresh_token(&self, granted: String) -> RefreshToken {
        let disk = self.0.clone();
        RefreshToken::new("alf", granted, move |rotated| {
            disk.lock().unwrap().push(rotated.secret().to_owned());
            std::future::ready(Ok::<_, std::io::Error>(()))
        })
    }

    fn saved(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Returns the tokens of the grant, in a cache of their own.
fn tokens_of(server: &Server, client: &Registered, refresh_token: &RefreshToken) -> Tokens {
    let credentials = server.credentials(client.basic()).scope("read");
    Tokens::new(credentials.grant(refresh_token.clone()), TokenEndpoint::new(http()))
}

// G3, G5
#[tokio::test]
async fn each_refresh_token_is_used_once() {
    let server = Server::django_oauth_toolkit();
    let client = server.client("refreshed");
    let granted = authorize(server, &client).await;
    let disk = Disk::default();
    let refresh_token = disk.refresh_token(granted.clone());
    let tokens = tokens_of(server, &client, &refresh_token);
    let api = server.api_with(tokens.clone(), |layer| layer);
    let path = "/api/bearer/refreshed";

    assert_eq!(send(api.clone(), server.get(path)).await.status, 200);
    let token = tokens.get().await.unwrap();
    let said = server.introspect(token.secret()).await;
    assert_eq!(
        (&said["username"], &said["active"]),
        (&server.told("/user/name").into(), &true.into())
    );
    assert_eq!(ask_with(server, &client, &granted).await.body["error"], "invalid_grant");

    // The next access token needs the rotated refresh token.
    token.reject();
    assert_eq!(send(api.clone(), server.get(path)).await.status, 200);
    assert_eq!(disk.saved().len(), 2);

    // The user revokes the grant.
    server.revoke(&client, tokens.get().await.unwrap().secret()).await;
    let request = server.get(path).body(Default::default()).unwrap();
    let error = try_send(api.clone(), request).await.map(|_| ()).unwrap_err();
    let error = TokenError::find_in(&*error).unwrap();
    assert_eq!(error.error_code(), Some("invalid_grant"));
    assert!(error.to_string().contains("the user has to authorize again"), "{error}");

    // The user authorizes the client again.
    refresh_token.set(authorize(server, &client).await);
    assert_eq!(send(api, server.get(path)).await.status, 200);
    // Includes the test's own requests.
    let password = [200];
    let statuses = [&password[..], &[200, 400], &[200], &[400], &password, &[200]].concat();
    assert_eq!(server.token_statuses(&client.id).await, statuses);
    assert_eq!(server.api_statuses(path).await, [200, 200, 401, 200]);
}

// G3, G5, R1
#[tokio::test]
async fn a_refresh_token_that_another_client_used_is_an_error() {
    let server = Server::oidc_provider();
    let client = server.client("refreshed");
    let granted = grant(server, &client).await;
    let disk = Disk::default();
    let refresh_token = disk.refresh_token(granted.clone());
    let tokens = tokens_of(server, &client, &refresh_token);
    let api = server.api_with(tokens.clone(), |layer| layer);
    let path = "/plain/refreshed";

    assert_eq!(send(api.clone(), server.get(path)).await.status, 200);
    let revoked = tokens.get().await.unwrap();
    assert_eq!(server.introspect(revoked.secret()).await["sub"], "alf");
    server.revoke(&client, revoked.secret()).await;
    let answer = send(api.clone(), server.get(path)).await;
    assert_eq!((answer.status.as_u16(), answer.replayed), (200, Some(Replayed::Yes)));
    assert_eq!(disk.saved().len(), 2);

    assert_eq!(ask_with(server, &client, &granted).await.body["error"], "invalid_grant");
    let request = server.get(path).body(Default::default()).unwrap();
    let error = try_send(api.clone(), request).await.map(|_| ()).unwrap_err();
    assert_eq!(TokenError::find_in(&*error).unwrap().error_code(), Some("invalid_grant"));

    refresh_token.set(grant(server, &client).await);
    assert_eq!(send(api, server.get(path)).await.status, 200);
    // The first 400 answers the test itself.
    assert_eq!(server.token_statuses(&client.id).await, [200, 200, 400, 400, 200]);
    assert_eq!(server.api_statuses(path).await, [200, 401, 200, 401, 200]);
}

// G3
#[tokio::test]
async fn many_caches_take_turns() {
    let server = Server::django_oauth_toolkit();
    let client = server.client("refreshed-by-many");
    let granted = authorize(server, &client).await;
    take_turns(server, &client, granted).await;
    // The first and the last request are sent by the test itself.
    assert_eq!(server.token_statuses(&client.id).await, [200; 14]);
}

// G3: two requests at once would revoke the grant.
#[tokio::test]
async fn many_caches_take_turns_where_reuse_is_punished() {
    let server = Server::oidc_provider();
    let client = server.client("refreshed-by-many");
    let granted = grant(server, &client).await;
    take_turns(server, &client, granted).await;
    assert_eq!(server.token_statuses(&client.id).await, [200; 13]);
}

/// Gets tokens with twelve caches that share a refresh token. Checks that the last one is valid.
async fn take_turns(server: &'static Server, client: &Registered, granted: String) {
    let disk = Disk::default();
    let refresh_token = disk.refresh_token(granted);
    let all: Vec<_> = (0..12)
        .map(|_| {
            let tokens = tokens_of(server, client, &refresh_token);
            tokio::spawn(async move { tokens.get().await })
        })
        .collect();
    for one in all {
        one.await.unwrap().unwrap();
    }
    assert_eq!(disk.saved().len(), 12);
    let last = disk.saved().pop().unwrap();
    assert_eq!(ask_with(server, client, &last).await.status, 200);
}
