//! Tokens that are bound to a key (DPoP, RFC 9449), at `oidc-provider`.

use http::{Method, Request};
use serde_json::{Value, json};
use tower::ServiceBuilder;
use tower_oauth2::jwt::{Algorithm, DpopKey, SigningKey};
use tower_oauth2::replay::{ReplayPolicy, Replayed};
use tower_oauth2::{
    ClientAuth, Credentials, OAuth2Layer, Origins, RequestExt, TokenCache, TokenEndpoint,
    TokenError, TokenErrorKind, Tokens,
};

use crate::client::{Answer, http, send, try_send};
use crate::server::Server;
use crate::tls::{self, Shows};

pub fn key() -> DpopKey {
    DpopKey::generate().unwrap()
}

/// Returns tokens of this client in a cache of their own.
fn credentials(server: &Server, name: &str, key: &DpopKey) -> Credentials {
    server.credentials(server.client(name).basic()).dpop(key.clone())
}

pub fn tokens(server: &Server, name: &str, key: &DpopKey) -> Tokens {
    Tokens::new(credentials(server, name, key), TokenEndpoint::new(http()))
}

#[track_caller]
pub fn is_bound(answer: &Answer, key: &DpopKey) {
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["scheme"], "DPoP");
    assert_eq!(answer.body["cnf"]["jkt"], key.thumbprint());
}

#[tokio::test]
async fn each_request_has_its_own_proof_for_method_and_uri() {
    let server = Server::oidc_provider();
    let key = key();
    let tokens = tokens(server, "dpop", &key);
    let api = server.api_with(tokens.clone(), |layer| layer);
    // The API accepts a proof once, and compares method, URI and the token's hash.
    for (method, path) in [
        (Method::GET, "/plain/dpop"),
        (Method::GET, "/plain/dpop"),
        (Method::PUT, "/plain/dpop"),
        (Method::DELETE, "/plain/dpop?a=b&c=/d"),
        (Method::GET, "/plain/dpop/%7Ea%20b+c/;d=e"),
    ] {
        let answer = send(api.clone(), server.get(path).method(method.clone())).await;
        is_bound(&answer, &key);
        assert_eq!((answer.replayed, &answer.body["method"]), (None, &method.as_str().into()));
    }
    let answers = (0..32).map(|_| send(api.clone(), server.get("/plain/dpop/at-once")));
    for answer in futures_util::future::join_all(answers).await {
        is_bound(&answer, &key);
    }
    assert_eq!(server.token_statuses("dpop").await, [200]);
    assert_eq!(server.api_statuses("/plain/dpop").await, [200; 4]);
    assert_eq!(server.api_statuses("/plain/dpop/at-once").await, [200; 32]);

    // The server confirms the key by introspection.
    let told = server.introspect(tokens.get().await.unwrap().secret()).await;
    assert_eq!((&told["active"], &told["token_type"]), (&true.into(), &"DPoP".into()));
    assert_eq!(told["cnf"]["jkt"], key.thumbprint());
}

#[tokio::test]
async fn proofs_work_with_keys_of_every_kind() {
    let server = Server::oidc_provider();
    for (count, algorithm) in
        [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA, Algorithm::RS256, Algorithm::PS256]
            .into_iter()
            .enumerate()
    {
        let key = SigningKey::generate(algorithm).unwrap_or_else(|_| {
            // Opaque tokens cannot be decoded, only JWTs.
            let key = server.key("private-key-jwt-RS256");
            key.with_algorithm(algorithm).unwrap()
        });
        let key = DpopKey::new(key);
        let api = server.api_with(tokens(server, "dpop-keys", &key), |layer| layer);
        is_bound(&send(api, server.get("/plain/dpop-keys")).await, &key);
        assert_eq!(server.token_statuses("dpop-keys").await.len(), count + 1);
    }
    assert_eq!(server.api_statuses("/plain/dpop-keys").await, [200; 5]);
}

#[tokio::test]
async fn proofs_work_over_tls() {
    let server = Server::oidc_provider();
    let (key, http) = (key(), tls::http(Shows::Nothing));
    let auth = server.client("dpop-tls").basic();
    let credentials = Credentials::new(server.told("/tls/token_endpoint"), auth).unwrap();
    let tokens = Tokens::new(credentials.dpop(key.clone()), TokenEndpoint::new(http.clone()));
    let origins = Origins::only([server.told("/tls/api")]).unwrap();
    let api = ServiceBuilder::new().layer(OAuth2Layer::new(tokens, origins)).service(http);
    let uri = format!("{}/nonce/plain/tls?query", server.told("/tls/api"));
    is_bound(&send(api, Request::get(uri)).await, &key);
    assert_eq!(server.token_statuses("dpop-tls").await, [200]);
    assert_eq!(server.api_statuses("/nonce/plain/tls").await, [401, 200]);
}

#[tokio::test]
async fn one_client_with_tokens_of_both_kinds_in_one_cache() {
    let server = Server::oidc_provider();
    let (one, another) = (key(), key());
    let bearer = server.credentials(server.client("dpop-optional").basic());
    let cache = TokenCache::new(TokenEndpoint::new(http()));
    let api = server.api_with(cache.tokens(&bearer), |layer| layer);
    for _ in 0..2 {
        let answer = send(api.clone(), server.get("/plain/optional")).await;
        assert_eq!((answer.status.as_u16(), &answer.body["scheme"]), (200, &"Bearer".into()));
        assert_eq!(answer.body["cnf"], Value::Null);
        for key in [&one, &another] {
            let bound = cache.tokens(&bearer.clone().dpop(key.clone()));
            let request = server.get("/plain/optional").tokens(&bound);
            is_bound(&send(api.clone(), request).await, key);
        }
    }
    assert_eq!(server.token_statuses("dpop-optional").await, [200; 3]);
    assert_eq!(server.api_statuses("/plain/optional").await, [200; 6]);
}

#[tokio::test]
async fn a_required_proof_that_is_missing_is_a_typed_error() {
    let server = Server::oidc_provider();
    let api = server.api(server.credentials(server.client("dpop-required").basic()));
    let request = server.get("/plain/required").body(Default::default()).unwrap();
    let error = try_send(api, request).await.err().unwrap();
    let error = TokenError::find_in(&*error).unwrap();
    assert_eq!(
        (error.status().unwrap().as_u16(), error.error_code()),
        (400, Some("invalid_grant"))
    );
    assert!(server.api_statuses("/plain/required").await.is_empty());
}

/// A server without DPoP support ignores proofs.
#[tokio::test]
async fn a_server_that_gives_a_bearer_token_instead_is_a_typed_error() {
    let server = Server::django_oauth_toolkit();
    let client = server.client("downgraded");
    let api = server.api(server.credentials(client.basic()).dpop(key()));
    for _ in 0..2 {
        let request = server.get("/api/bearer/downgraded").body(Default::default()).unwrap();
        let error = try_send(api.clone(), request).await.err().unwrap();
        let error = TokenError::find_in(&*error).unwrap();
        assert_eq!(error.kind(), TokenErrorKind::UnsupportedTokenType);
        assert!(!error.is_transient());
    }
    assert_eq!(server.token_statuses(&client.id).await, [200], "the failure is remembered");
    assert!(server.api_statuses("/api/bearer/downgraded").await.is_empty());
}

#[tokio::test]
async fn an_assertion_and_a_proof_in_one_request() {
    let server = Server::oidc_provider();
    let (key, name) = (key(), "dpop-private-key-jwt");
    // The assertion and the proof are signed with different keys.
    let auth = ClientAuth::private_key_jwt(name, server.key(name));
    let api = server.api(server.credentials(auth).dpop(key.clone()));
    let answer = send(api, server.get("/plain/dpop-private-key-jwt")).await;
    is_bound(&answer, &key);
    assert_eq!(answer.body["client_id"], name);
    assert_eq!(server.token_statuses(name).await, [200]);

    // They may be signed with the same key.
    let key = server.key(name);
    let auth = ClientAuth::private_key_jwt(name, key.clone());
    let key = DpopKey::new(key);
    let api = server.api(server.credentials(auth).dpop(key.clone()));
    is_bound(&send(api, server.get("/plain/dpop-private-key-jwt")).await, &key);
    assert_eq!(server.token_statuses(name).await, [200, 200]);
}

/// Sends a token for a resource (RFC 8707). The API looks it up or decodes it.
async fn is_for_the_resource(kind: &str) {
    let server = Server::oidc_provider();
    let (key, name) = (key(), format!("dpop-{kind}"));
    let resource = server.told(&format!("/resources/{kind}"));
    let credentials = credentials(server, &name, &key).resource(resource).scope("read");
    let api = server.api(credentials);
    let path = format!("/nonce/{kind}/dpop");
    let answer = send(api.clone(), server.get(&path)).await;
    is_bound(&answer, &key);
    assert_eq!((&answer.body["aud"], &answer.body["scope"]), (&json!(resource), &json!("read")));

    // Rejections for other reasons are handled as for Bearer tokens.
    let answer = send(api, server.get(&format!("{path}?scope=write"))).await;
    assert_eq!((answer.status.as_u16(), answer.replayed), (403, None));
    assert_eq!(server.api_statuses(&path).await, [401, 200, 403]);
    assert_eq!(server.token_statuses(&name).await, [200]);
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
async fn a_revoked_token_is_replaced_with_a_new_proof() {
    const BODY: &[u8] = &[b'x'; 100_000];
    let server = Server::oidc_provider();
    let (key, client) = (key(), server.client("dpop-revoked"));
    let tokens = tokens(server, "dpop-revoked", &key);
    let policy = ReplayPolicy::invalid_token();
    let api = server.api_with(tokens.clone(), |layer| layer.replay_policy(policy));
    let upload = async || {
        let request = server.get("/plain/dpop-revoked").method(Method::PUT);
        try_send(api.clone(), request.body(BODY.into()).unwrap()).await.unwrap()
    };
    is_bound(&upload().await, &key);
    server.revoke(&client, tokens.get().await.unwrap().secret()).await;
    for replayed in [Some(Replayed::Yes), None] {
        let answer = upload().await;
        is_bound(&answer, &key);
        assert_eq!(answer.replayed, replayed);
    }
    assert_eq!(server.token_statuses(&client.id).await, [200, 200]);
    assert_eq!(server.api_statuses("/plain/dpop-revoked").await, [200, 401, 200, 200]);
    let seen = server.api_log("/plain/dpop-revoked").await;
    assert!(seen.iter().all(|entry| entry["body"]["length"] == BODY.len()), "{seen:?}");
    assert!(seen.iter().all(|entry| entry["body"] == seen[0]["body"]), "{seen:?}");
}

#[tokio::test]
async fn a_stolen_token_is_rejected_without_its_key() {
    let server = Server::oidc_provider();
    let token = tokens(server, "dpop-stolen", &key()).get().await.unwrap();
    for scheme in ["Bearer", "DPoP"] {
        let authorization = format!("{scheme} {}", token.secret());
        let request = server.get("/plain/stolen").header("authorization", authorization);
        assert_eq!(send(http(), request).await.status, 401);
    }
    let seen = server.api_log("/plain/stolen").await;
    assert_eq!(seen[0]["why"], "the token is bound to a key");
    assert_eq!(seen[1]["why"], "no proof");
}
