//! Clients that authenticate with a JWT (RFC 7523), at `oidc-provider`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tower::{BoxError, ServiceExt, service_fn};
use tower_oauth2::client_auth::ClientSecretJwt;
use tower_oauth2::jwt::{Algorithm, KeyFile, SignedJwt, SigningKey};
use tower_oauth2::source::TokenRetry;
use tower_oauth2::{ClientAuth, TokenEndpoint, TokenError, TokenErrorKind, Tokens};

use crate::client::{http, send, try_send};
use crate::server::Server;

/// Asserts that one token request, with an assertion by key `kid`, authenticates the client.
async fn assert_accepted(name: &str, auth: ClientAuth, kid: Option<&str>) {
    let server = Server::oidc_provider();
    let client = server.client(name);
    let before = server.token_log(&client.id).await.len();
    let answer = send(server.api(server.credentials(auth)), server.get("/plain/jwt")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!((answer.replayed, &answer.body["client_id"]), (None, &(*client.id).into()));
    let seen = &server.token_log(&client.id).await[before..];
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!((seen[0]["status"].as_u64(), seen[0]["kid"].as_str()), (Some(200), kid));
}

fn refused(error: BoxError) -> TokenError {
    let error = TokenError::find_in(&*error).expect("a TokenError is among the sources").clone();
    assert_eq!(error.kind(), TokenErrorKind::ErrorResponse);
    assert_eq!(
        (error.status().unwrap().as_u16(), error.error_code()),
        (401, Some("invalid_client"))
    );
    let text = format!("{error} {error:?} {error:#?}");
    assert!(!text.contains("eyJ"), "an assertion is in the error: {text}");
    error
}

#[tokio::test]
async fn a_secret_makes_an_hmac() {
    let client = Server::oidc_provider().client("secret-jwt-HS256");
    let auth = ClientAuth::client_secret_jwt(&client.id, &client.secret);
    assert_accepted("secret-jwt-HS256", auth, None).await;
}

#[tokio::test]
async fn a_secret_makes_an_hmac_for_the_issuer() {
    let server = Server::oidc_provider();
    let client = server.client("secret-jwt-audience");
    let auth = ClientSecretJwt::new(&client.id, &client.secret).audience(server.told("/issuer"));
    assert_accepted("secret-jwt-audience", ClientAuth::custom(auth), None).await;
}

#[tokio::test]
async fn a_wrong_secret_is_an_invalid_client() {
    const WRONG: &str = "never-to-be-seen-never-to-be-seen-never-to-be-seen";
    let server = Server::oidc_provider();
    let client = server.client("secret-jwt-wrong");
    let api = server.api(server.credentials(ClientAuth::client_secret_jwt(&client.id, WRONG)));
    let request = server.get("/plain/secret-jwt-wrong").body(Default::default()).unwrap();
    let error = refused(try_send(api, request).await.err().unwrap());
    assert!(!format!("{error} {error:?}").contains("never-to-be-seen"));
    assert_eq!(server.token_statuses(&client.id).await, [401]);
    assert!(server.api_statuses("/plain/secret-jwt-wrong").await.is_empty());
}

#[tokio::test]
async fn a_private_key_for_each_algorithm() {
    let server = Server::oidc_provider();
    for algorithm in
        [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA]
    {
        // The server accepts no other algorithm from this client.
        let name = format!("private-key-jwt-{algorithm}");
        let key = server.key(&name).with_algorithm(algorithm).unwrap();
        let kid = server.told(&format!("/clients/{name}/kid"));
        assert_accepted(&name, ClientAuth::private_key_jwt(&name, key), Some(kid)).await;
    }
}

#[tokio::test]
async fn an_unregistered_algorithm_is_an_invalid_client() {
    let server = Server::oidc_provider();
    let name = "private-key-jwt-RS384";
    let auth = ClientAuth::private_key_jwt(name, server.key(name));
    let request = server.get("/plain/RS384").body(Default::default()).unwrap();
    let api = server.api(server.credentials(auth));
    refused(try_send(api, request).await.err().unwrap());
    assert_eq!(server.token_log(name).await[0]["why"], "alg mismatch");
}

#[tokio::test]
async fn endpoint_and_issuer_are_accepted_as_the_audience() {
    let server = Server::oidc_provider();
    let name = "assertion-audience";
    let kid = server.told("/clients/assertion-audience/kid");
    let jwt = || SignedJwt::new(server.key(name));
    assert_accepted(name, ClientAuth::private_key_jwt(name, jwt()), Some(kid)).await;
    let issuer = jwt().audience(server.told("/issuer"));
    assert_accepted(name, ClientAuth::private_key_jwt(name, issuer), Some(kid)).await;

    let elsewhere = jwt().audience("https://elsewhere.example");
    let elsewhere = ClientAuth::private_key_jwt(name, elsewhere);
    let request = server.get("/plain/elsewhere").body(Default::default()).unwrap();
    let api = server.api(server.credentials(elsewhere));
    refused(try_send(api, request).await.err().unwrap());
    assert_eq!(server.token_statuses(name).await, [200, 200, 401]);
}

#[tokio::test]
async fn a_retry_has_its_own_assertion() {
    let server = Server::oidc_provider();
    let name = "assertion-twice";
    let sent = Arc::new(Mutex::new(Vec::new()));
    // The response to the first request is lost.
    let lossy = {
        let sent = sent.clone();
        service_fn(move |request: Request<Full<Bytes>>| {
            let sent = sent.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                let count = {
                    let mut sent = sent.lock().unwrap();
                    sent.push(body.clone());
                    sent.len()
                };
                let response = http().oneshot(Request::from_parts(head, body.into())).await?;
                if count == 1 {
                    return Err(BoxError::from("the connection was lost"));
                }
                Ok::<Response<Incoming>, BoxError>(response)
            }
        })
    };
    let source = TokenEndpoint::new(lossy).retry(TokenRetry::new(1).backoff(Default::default()));
    let auth = ClientAuth::private_key_jwt(name, server.key(name));
    let tokens = Tokens::new(server.credentials(auth), source);
    let api = server.api_with(tokens, |layer| layer);
    assert_eq!(send(api, server.get("/plain/twice")).await.status, 200);
    assert_eq!(server.token_statuses(name).await, [200, 200]);

    // The server refuses an assertion that it has seen before.
    let again = sent.lock().unwrap()[1].clone();
    let request = Request::post(server.told("/token_endpoint"))
        .header("content-type", "application/x-www-form-urlencoded");
    let answer = try_send(http(), request.body(again.into()).unwrap()).await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.body["error"]), (401, &"invalid_client".into()));
    let seen = server.token_log(name).await;
    assert_eq!(seen[2]["why"], "client assertion tokens must only be used once");
}

#[tokio::test]
async fn a_key_of_another_client_is_an_invalid_client() {
    let server = Server::oidc_provider();
    let name = "assertion-stranger";
    let kid = server.told("/clients/assertion-stranger/kid");
    let stranger = SigningKey::generate(Algorithm::ES256).unwrap();
    for key in [stranger.clone().with_kid(kid), stranger.clone().with_kid("nobodys"), stranger] {
        let auth = ClientAuth::private_key_jwt(name, key);
        let request = server.get("/plain/stranger").body(Default::default()).unwrap();
        let api = server.api(server.credentials(auth));
        refused(try_send(api, request).await.err().unwrap());
    }
    let seen = server.token_log(name).await;
    let why: Vec<_> = seen.iter().map(|entry| entry["why"].as_str().unwrap()).collect();
    let forged = "signature verification failed";
    assert_eq!(why, [forged, "no applicable key found in the JSON Web Key Set", forged]);
    assert_eq!(server.token_statuses(name).await, [401; 3]);
    assert!(server.api_statuses("/plain/stranger").await.is_empty());
}

/// A file that is removed on drop.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn new(name: &str, content: &str) -> Self {
        let name = format!("{name}-{}", std::process::id());
        let file = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        file.replace(content);
        file
    }

    /// Replaces the file atomically, as tools that rotate secrets do.
    fn replace(&self, content: &str) {
        let next = self.0.with_extension("next");
        std::fs::write(&next, content).unwrap();
        std::fs::rename(&next, &self.0).unwrap();
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn a_replaced_key_file_is_used_at_once() {
    let server = Server::oidc_provider();
    let name = "assertion-key-file";
    let kid = server.told("/clients/assertion-key-file/kid");
    let others = server.told("/clients/private-key-jwt-ES256/private_key");
    let file = TemporaryFile::new("key-file.pem", others);
    let auth = ClientAuth::private_key_jwt(name, KeyFile::new(&file.0).kid(kid));
    let api = server.api(server.credentials(auth));
    let request = || server.get("/plain/key-file").body(Default::default()).unwrap();
    refused(try_send(api.clone(), request()).await.err().unwrap());
    assert_eq!(server.token_statuses(name).await, [401]);

    // The refusal of the wrong key does not apply to this one.
    file.replace(server.told("/clients/assertion-key-file/private_key"));
    assert_eq!(try_send(api, request()).await.unwrap().status, 200);
    assert_eq!(server.token_statuses(name).await, [401, 200]);
}

#[tokio::test]
async fn a_rotated_key_file_is_used_for_the_next_token() {
    let server = Server::oidc_provider();
    let name = "assertion-rotated";
    let told = |key: usize, member: &str| {
        server.told(&format!("/clients/assertion-rotated/keys/{key}/{member}"))
    };
    let file = TemporaryFile::new("rotated.json", told(0, "jwk"));
    let auth = ClientAuth::private_key_jwt(name, KeyFile::new(&file.0));
    let api = server.api(server.credentials(auth));
    let get = async |query: &str| send(api.clone(), server.get(&format!("/plain/r{query}"))).await;
    assert_eq!(get("").await.status, 200);

    // A key of another type works too. The current token stays in use.
    file.replace(told(1, "jwk"));
    assert_eq!(get("").await.status, 200);
    assert_eq!(server.token_statuses(name).await, [200]);

    assert_eq!(get("?refuse").await.status, 401);
    let seen = server.token_log(name).await;
    let kids: Vec<_> = seen.iter().map(|entry| entry["kid"].as_str().unwrap()).collect();
    assert_eq!(kids, [told(0, "kid"), told(1, "kid")]);
    assert_eq!(server.token_statuses(name).await, [200, 200]);
}
