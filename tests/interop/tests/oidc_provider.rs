//! Tokens of `oidc-provider`, and an API that checks them.

use serde_json::{Value, json};
use tower::BoxError;
use tower_oauth2::{
    ClientAuth, RequestExt, TokenCache, TokenEndpoint, TokenError, TokenErrorKind, Tokens,
};

use crate::client::{http, send, try_send};
use crate::server::{Registered, Server};

/// Asserts that the API accepts a client with this authentication.
async fn assert_accepted(server: &Server, client: &Registered, auth: ClientAuth, path: &str) {
    let api = server.api(server.credentials(auth));
    let answer = send(api, server.get(path)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["client_id"], *client.id);
    assert_eq!(answer.replayed, None);
    assert_eq!(server.token_statuses(&client.id).await, [200]);
    assert_eq!(server.api_statuses(path).await, [200]);
}

fn refused(error: BoxError) -> TokenError {
    let error = TokenError::find_in(&*error).expect("a TokenError is among the sources").clone();
    assert_eq!(error.kind(), TokenErrorKind::ErrorResponse);
    assert!(!error.is_transient());
    error
}

#[tokio::test]
async fn basic_with_every_printable_character() {
    let server = Server::oidc_provider();
    let client = server.client("odd-basic");
    assert!([':', '+', '%', ' ', '"', '\\'].iter().all(|&odd| client.id.contains(odd)));
    assert_accepted(server, &client, client.basic(), "/plain/odd-basic").await;
}

#[tokio::test]
async fn post_with_every_printable_character() {
    let server = Server::oidc_provider();
    let client = server.client("odd-post");
    assert!(['&', '=', '+', '%', ' '].iter().all(|&odd| client.secret.contains(odd)));
    assert_accepted(server, &client, client.post(), "/plain/odd-post").await;
}

#[tokio::test]
async fn basic_with_an_ordinary_secret_encoded_or_raw() {
    let server = Server::oidc_provider();
    let client = server.client("basic");
    assert_accepted(server, &client, client.basic(), "/plain/basic").await;
    let raw = ClientAuth::client_secret_basic_raw(&client.id, &client.secret);
    let answer = send(server.api(server.credentials(raw)), server.get("/plain/raw")).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn many_requests_at_once_cost_one_token_request() {
    let server = Server::oidc_provider();
    let client = server.client("concurrent");
    let api = server.api(server.credentials(client.basic()));
    let requests = (0..64).map(|_| send(api.clone(), server.get("/plain/concurrent")));
    for answer in futures_util::future::join_all(requests).await {
        assert_eq!(answer.status, 200);
    }
    assert_eq!(server.token_statuses(&client.id).await, [200]);
    assert_eq!(server.api_statuses("/plain/concurrent").await, [200; 64]);
}

/// Asserts that the API accepts only tokens for its resource (RFC 8707).
async fn is_for_the_resource(kind: &str) {
    let server = Server::oidc_provider();
    let client = server.client(kind);
    let resource = server.told(&format!("/resources/{kind}"));
    let credentials = server.credentials(client.basic());
    let path = format!("/{kind}/resource");

    let meant = server.api(credentials.clone().resource(resource).scope("read"));
    let answer = send(meant, server.get(&path)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["client_id"], *client.id);
    assert_eq!(answer.body["aud"], resource);
    assert_eq!(answer.body["scope"], "read");
    assert_eq!(server.api_statuses(&path).await, [200]);

    // A token without a resource, and a fresh one after that.
    let answer = send(server.api(credentials), server.get(&path)).await;
    assert_eq!(answer.status, 401, "{}", answer.body);
    assert_eq!(server.api_statuses(&path).await, [200, 401, 401]);
}

#[tokio::test]
async fn an_opaque_token_for_a_resource() {
    is_for_the_resource("opaque").await;
}

#[tokio::test]
async fn a_jwt_for_a_resource() {
    is_for_the_resource("jwt").await;
}

#[tokio::test]
async fn two_resources_through_one_cache_and_two_at_once() {
    let server = Server::oidc_provider();
    let client = server.client("two-resources");
    let [opaque, jwt] = ["/resources/opaque", "/resources/jwt"].map(|name| server.told(name));
    let credentials = server.credentials(client.basic());
    let for_jwt = credentials.clone().resource(jwt);
    let for_both = for_jwt.clone().resource(opaque);
    let cache = TokenCache::new(TokenEndpoint::new(http()));
    let api = server.api_with(cache.tokens(&credentials.resource(opaque)), |layer| layer);
    for _ in 0..2 {
        let answer = send(api.clone(), server.get("/opaque/two")).await;
        assert_eq!((answer.status.as_u16(), &answer.body["aud"]), (200, &json!(opaque)));
        let request = server.get("/jwt/two").tokens(&cache.tokens(&for_jwt));
        let answer = send(api.clone(), request).await;
        assert_eq!((answer.status.as_u16(), &answer.body["aud"]), (200, &json!(jwt)));
    }
    assert_eq!(server.token_statuses(&client.id).await, [200, 200]);

    // Both resources are sent, but the server issues tokens for one resource only.
    let request = server.get("/opaque/both").tokens(&cache.tokens(&for_both));
    let request = request.body(Default::default());
    let error = refused(try_send(api, request.unwrap()).await.err().unwrap());
    assert_eq!(error.error_code(), Some("invalid_target"));
    assert!(error.error_description().unwrap().contains("single resource"));
    assert_eq!(server.token_statuses(&client.id).await, [200, 200, 400]);
}

#[tokio::test]
async fn a_wrong_secret_is_a_typed_error_that_holds_no_secret() {
    const WRONG: &str = "never-to-be-seen: a+b%";
    let server = Server::oidc_provider();
    let client = server.client("wrong-secret");
    for auth in [
        ClientAuth::client_secret_basic(&client.id, WRONG),
        ClientAuth::client_secret_post(&client.id, WRONG),
    ] {
        let api = server.api(server.credentials(auth));
        let request = server.get("/plain/wrong-secret").body(Default::default()).unwrap();
        let error = refused(try_send(api, request).await.err().unwrap());
        assert_eq!(error.status().unwrap(), 401);
        assert_eq!(error.error_code(), Some("invalid_client"));
        assert_eq!(error.error_description(), Some("client authentication failed"));
        assert!(error.rejected_response().is_none());
        let text = format!("{error} {error:?} {error:#?}");
        assert!(text.contains("invalid_client"), "{text}");
        assert!(!text.contains("never-to-be-seen"), "{text}");
    }
    assert_eq!(server.token_statuses(&client.id).await, [401, 401]);
    assert!(server.api_statuses("/plain/wrong-secret").await.is_empty());
}

#[tokio::test]
async fn an_unknown_resource_or_scope_is_a_typed_error() {
    let server = Server::oidc_provider();
    let (client, other) = (server.client("unknown-resource"), server.client("bad-scope"));
    let opaque = server.told("/resources/opaque");
    for (credentials, told) in [
        (
            server.credentials(client.basic()).resource("https://elsewhere.example/"),
            "invalid_target",
        ),
        (server.credentials(other.basic()).resource(opaque).scope("write"), "invalid_scope"),
    ] {
        let request = server.get("/opaque/refused").body(Default::default()).unwrap();
        let error = refused(try_send(server.api(credentials), request).await.err().unwrap());
        assert_eq!((error.status().unwrap().as_u16(), error.error_code()), (400, Some(told)));
    }
}

/// Only the scope in the response shows this.
#[tokio::test]
async fn an_unknown_scope_is_left_out_of_the_token() {
    let server = Server::oidc_provider();
    let client = server.client("unknown-scope");
    for (scope, resource, granted) in [
        ("nonsense read", None, Some("read")),
        ("nonsense", None, None),
        ("nonsense read", Some("/resources/opaque"), Some("read")),
        ("nonsense read", Some("/resources/jwt"), Some("read")),
    ] {
        let mut credentials = server.credentials(client.basic()).scope(scope);
        if let Some(resource) = resource {
            credentials = credentials.resource(server.told(resource));
        }
        let token = Tokens::new(credentials, TokenEndpoint::new(http())).get().await.unwrap();
        assert_eq!(token.scope(), granted, "{scope} for {resource:?}");
    }
    assert_eq!(server.token_statuses(&client.id).await, [200; 4]);
}

#[tokio::test]
async fn a_missing_scope_causes_no_token_request() {
    let server = Server::oidc_provider();
    let client = server.client("scoped");
    let credentials = server.credentials(client.basic()).resource(server.told("/resources/jwt"));
    let api = server.api(credentials.scope("read"));
    for (query, status) in [("scope=read", 200), ("scope=write", 403), ("scope=read", 200)] {
        let answer = send(api.clone(), server.get(&format!("/jwt/scoped?{query}"))).await;
        assert_eq!((answer.status.as_u16(), answer.replayed), (status, None));
    }
    let seen = server.api_log("/jwt/scoped").await;
    let tokens: Vec<&Value> = seen.iter().map(|entry| &entry["token"]).collect();
    assert!(tokens.windows(2).all(|two| two[0] == two[1]), "{tokens:?}");
    assert_eq!(server.token_statuses(&client.id).await, [200]);
}
