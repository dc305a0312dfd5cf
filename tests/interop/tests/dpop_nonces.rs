//! Servers that require a nonce in each proof (RFC 9449 sections 8 and 9).

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
use tower_oauth2::replay::Replayed;
use tower_oauth2::{OAuth2Layer, Origins, TokenEndpoint, Tokens};

use crate::client::{http, send, try_send};
use crate::dpop::{is_bound, key, tokens};
use crate::server::Server;

#[tokio::test]
async fn a_token_request_is_resent_with_the_nonce_of_the_endpoint() {
    let server = Server::oidc_provider();
    let key = key();
    let tokens = tokens(server, "dpop-nonce", &key);
    let api = server.api_with(tokens, |layer| layer);
    is_bound(&send(api.clone(), server.get("/plain/dpop-nonce")).await, &key);
    assert_eq!(server.token_statuses("dpop-nonce").await, [400, 200]);
    assert_eq!(server.token_log("dpop-nonce").await[0]["error"], "use_dpop_nonce");

    // Every cache with this key uses the nonce from then on.
    let answer = send(api, server.get("/plain/dpop-nonce?refuse")).await;
    assert_eq!((answer.status.as_u16(), answer.replayed), (401, Some(Replayed::Yes)));
    assert_eq!(server.token_statuses("dpop-nonce").await, [400, 200, 200]);
    let credentials = server.credentials(server.client("dpop-nonce").basic()).dpop(key.clone());
    let another = Tokens::new(credentials, TokenEndpoint::new(http()));
    another.get().await.unwrap();
    assert_eq!(server.token_statuses("dpop-nonce").await, [400, 200, 200, 200]);
    assert_eq!(server.api_statuses("/plain/dpop-nonce").await, [200, 401, 401]);
}

#[tokio::test]
async fn many_callers_of_one_token_cost_one_nonce() {
    let server = Server::oidc_provider();
    let key = key();
    let api = server.api_with(tokens(server, "dpop-nonce-at-once", &key), |layer| layer);
    let requests = (0..32).map(|_| send(api.clone(), server.get("/plain/nonce-at-once")));
    for answer in futures_util::future::join_all(requests).await {
        is_bound(&answer, &key);
    }
    assert_eq!(server.token_statuses("dpop-nonce-at-once").await, [400, 200]);
    assert_eq!(server.api_statuses("/plain/nonce-at-once").await, [200; 32]);
}

#[tokio::test]
async fn an_upload_is_resent_with_the_nonce_of_the_api() {
    const BODY: &[u8] = &[b'x'; 100_000];
    let server = Server::oidc_provider();
    let key = key();
    let api = server.api_with(tokens(server, "dpop-api-nonce", &key), |layer| layer);
    for _ in 0..3 {
        let request = server.get("/nonce/plain/upload").method(Method::POST);
        let answer = try_send(api.clone(), request.body(BODY.into()).unwrap()).await.unwrap();
        is_bound(&answer, &key);
        assert_eq!(answer.replayed, None, "the token was fine");
    }
    assert_eq!(server.token_statuses("dpop-api-nonce").await, [200]);
    assert_eq!(server.api_statuses("/nonce/plain/upload").await, [401, 200, 200, 200]);
    let seen = server.api_log("/nonce/plain/upload").await;
    assert_eq!(seen[0]["why"], "a nonce of this API is needed");
    assert!(seen.iter().all(|entry| entry["body"] == seen[0]["body"]), "{seen:?}");
    assert!(seen.iter().all(|entry| entry["token"] == seen[0]["token"]), "{seen:?}");
}

#[tokio::test]
async fn each_server_has_its_own_nonce() {
    let server = Server::oidc_provider();
    let key = key();
    let api = server.api_with(tokens(server, "dpop-nonce-everywhere", &key), |layer| layer);
    for _ in 0..2 {
        is_bound(&send(api.clone(), server.get("/nonce/plain/everywhere")).await, &key);
    }
    // Another token, after the API has sent its nonce.
    let answer = send(api, server.get("/nonce/plain/everywhere?refuse")).await;
    assert_eq!((answer.status.as_u16(), answer.replayed), (401, Some(Replayed::Yes)));
    assert_eq!(server.token_statuses("dpop-nonce-everywhere").await, [400, 200, 200]);
    let seen = server.api_statuses("/nonce/plain/everywhere").await;
    assert_eq!(seen, [401, 200, 200, 401, 401]);
}

#[tokio::test]
async fn a_replaced_nonce_costs_one_more_request_each() {
    let server = Server::oidc_provider_alone();
    let key = key();
    let api = server.api_with(tokens(&server, "dpop-rotated", &key), |layer| layer);
    for _ in 0..3 {
        for _ in 0..2 {
            let answer = send(api.clone(), server.get("/nonce/plain/rotated")).await;
            is_bound(&answer, &key);
            assert_eq!(answer.replayed, None);
        }
        server.control("rotate-nonce").await;
    }
    assert_eq!(server.token_statuses("dpop-rotated").await, [200]);
    let seen = server.api_statuses("/nonce/plain/rotated").await;
    assert_eq!(seen, [401, 200, 200, 401, 200, 200, 401, 200, 200]);
}

#[tokio::test]
async fn a_nonce_that_is_replaced_in_between_fails_no_request() {
    const REQUESTS: usize = 64;
    let server = Server::oidc_provider_alone();
    let key = key();
    let api = server.api_with(tokens(&server, "dpop-rotated-at-once", &key), |layer| layer);
    is_bound(&send(api.clone(), server.get("/nonce/plain/warm")).await, &key);
    let many = async |path: &str| {
        let requests = (0..REQUESTS).map(|_| send(api.clone(), server.get(path)));
        for answer in futures_util::future::join_all(requests).await {
            is_bound(&answer, &key);
            assert_eq!(answer.replayed, None);
        }
    };
    // All requests are sent with the old nonce.
    server.control("rotate-nonce").await;
    many("/nonce/plain/before").await;
    // The server replaces the nonce in between.
    futures_util::future::join(many("/nonce/plain/between"), server.control("rotate-nonce")).await;

    assert_eq!(server.token_statuses("dpop-rotated-at-once").await, [200]);
    for (path, least) in [("before", REQUESTS + 1), ("between", REQUESTS)] {
        let seen = server.api_statuses(&format!("/nonce/plain/{path}")).await;
        assert_eq!(seen.iter().filter(|&&status| status == 200).count(), REQUESTS);
        let range = least..=2 * REQUESTS;
        assert!(range.contains(&seen.len()), "one more each at most: {}", seen.len());
    }
}

#[tokio::test]
async fn a_late_response_does_not_restore_a_replaced_nonce() {
    let server = Server::oidc_provider_alone();
    let (key, (release, released)) = (key(), tokio::sync::oneshot::channel::<()>());
    let (arrived, has_arrived) = tokio::sync::oneshot::channel();
    let held = Arc::new(Mutex::new(Some((arrived, released))));
    // The response to one request is held back.
    let slow = service_fn(move |request: Request<Full<Bytes>>| {
        let held = held.clone();
        async move {
            let is_held = request.uri().path() == "/nonce/plain/slow";
            let response = http().oneshot(request).await?;
            let hold = if is_held { held.lock().unwrap().take() } else { None };
            if let Some((arrived, released)) = hold {
                arrived.send(()).unwrap();
                released.await.unwrap();
            }
            Ok::<_, BoxError>(response)
        }
    });
    let origins = Origins::only([server.told("/api")]).unwrap();
    let layer = OAuth2Layer::new(tokens(&server, "dpop-rotated-late", &key), origins);
    let api = ServiceBuilder::new().layer(layer).service(slow);
    is_bound(&send(api.clone(), server.get("/nonce/plain/warm")).await, &key);

    let late = tokio::spawn(send(api.clone(), server.get("/nonce/plain/slow")));
    has_arrived.await.unwrap();
    server.control("rotate-nonce").await;
    is_bound(&send(api.clone(), server.get("/nonce/plain/quick")).await, &key);
    release.send(()).unwrap();
    is_bound(&late.await.unwrap(), &key);
    is_bound(&send(api, server.get("/nonce/plain/quick")).await, &key);
    assert_eq!(server.api_statuses("/nonce/plain/slow").await, [200]);
    assert_eq!(server.api_statuses("/nonce/plain/quick").await, [401, 200, 200]);
}

#[tokio::test]
async fn a_nonce_and_a_token_that_expire_together_are_replaced() {
    let server = Server::oidc_provider_alone();
    let (key, client) = (key(), server.client("dpop-revoked-nonce"));
    let tokens = tokens(&server, "dpop-revoked-nonce", &key);
    let api = server.api_with(tokens.clone(), |layer| layer);
    is_bound(&send(api.clone(), server.get("/nonce/plain/both")).await, &key);

    server.revoke(&client, tokens.get().await.unwrap().secret()).await;
    server.control("rotate-nonce").await;
    for replayed in [Some(Replayed::Yes), None] {
        let answer = send(api.clone(), server.get("/nonce/plain/both")).await;
        is_bound(&answer, &key);
        assert_eq!(answer.replayed, replayed);
    }
    assert_eq!(server.token_statuses(&client.id).await, [200, 200]);
    let seen = server.api_log("/nonce/plain/both").await;
    let statuses: Vec<_> = seen.iter().map(|entry| entry["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [401, 200, 401, 401, 200, 200]);
    assert_eq!(seen[2]["why"], "the token is not active");
    assert_eq!(seen[3]["why"], "a nonce of this API is needed");
}
