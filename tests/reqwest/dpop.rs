use std::collections::HashSet;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use reqwest::Client;
use reqwest_middleware::ClientBuilder;
use serde_json::Value;
use tower_oauth2::http_client::{AuthorizedClient, OAuth2Middleware};
use tower_oauth2::jwt::DpopKey;
use tower_oauth2::testing::ScriptedSource;
use tower_oauth2::{AccessToken, OAuth2Layer, Origins, Tokens};

use crate::support::*;

fn layer() -> OAuth2Layer {
    let source = ScriptedSource::tokens(|n| {
        let token = AccessToken::dpop(format!("token-{n}")).unwrap();
        token.with_expires_in(Duration::from_secs(3600))
    });
    let credentials = credentials().dpop(DpopKey::generate().unwrap());
    OAuth2Layer::new(Tokens::new(credentials, source), Origins::any())
}

/// Returns the claims of the proof of a request.
fn claims(request: &Request<Bytes>) -> Value {
    let proof = request.headers()["dpop"].to_str().unwrap();
    let claims = proof.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

/// Requires a nonce, and a token that is not the first one.
fn answer(request: &Request<Bytes>) -> Response<Full<Bytes>> {
    let error = match claims(request).get("nonce") {
        None => "use_dpop_nonce",
        Some(_) if request.headers()["authorization"] == "DPoP token-1" => "invalid_token",
        Some(_) => return respond(200),
    };
    let mut response = respond(401);
    let challenge = format!(r#"DPoP error="{error}""#);
    response.headers_mut().insert("www-authenticate", challenge.parse().unwrap());
    response.headers_mut().insert("dpop-nonce", "nonce-1".parse().unwrap());
    response
}

// W10
#[tokio::test]
async fn each_send_has_a_proof_for_its_url() {
    let http = Client::new();
    let client = Http::Client(AuthorizedClient::new(http.clone(), layer()));
    let middleware = ClientBuilder::new(http.clone()).with(OAuth2Middleware::new(layer())).build();
    for client in [client, Http::Middleware(middleware)] {
        let server = Server::start(answer).await;
        let request = http.post(server.url("/things?page=2")).body("body");
        let response = client.send(request).await.unwrap();
        assert_eq!(response.status(), 200, "{}", client.name());
        let expected = ["DPoP token-1", "DPoP token-1", "DPoP token-2"];
        assert_eq!(server.authorizations(), expected);
        assert_eq!(server.bodies(), ["body"; 3]);
        let claims: Vec<_> = server.requests().iter().map(claims).collect();
        for claims in &claims {
            assert_eq!(claims["htm"], "POST");
            assert_eq!(claims["htu"], server.url("/things"));
        }
        let ids: HashSet<_> = claims.iter().map(|claims| claims["jti"].to_string()).collect();
        assert_eq!(ids.len(), 3);
        assert_eq!(claims[2]["nonce"], "nonce-1");
    }
}
