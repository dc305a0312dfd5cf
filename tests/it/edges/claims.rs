//! R7: claims of a challenge beside those of the credentials.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::WWW_AUTHENTICATE;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_oauth2::{Credentials, OAuth2Layer, Origins, TokenEndpoint, Tokens};

use crate::support::*;

/// Returns the `claims` of two token requests, between which an API required `wanted`.
async fn requested_claims(credentials: Credentials, wanted: &Value) -> Vec<Vec<String>> {
    let endpoint = Api::new(|_| Response::new(Full::from(r#"{"access_token":"t"}"#)));
    let tokens = Tokens::new(credentials, TokenEndpoint::new(endpoint.clone()));
    let encoded = BASE64_STANDARD.encode(wanted.to_string());
    let challenge = format!("Bearer error=\"insufficient_claims\", claims=\"{encoded}\"");
    let api = Api::new(move |_| {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge.parse().unwrap());
        response
    });
    let origins = Origins::only(["https://api.test"]).unwrap();
    OAuth2Layer::new(tokens, origins).layer(api).oneshot(get("/")).await.unwrap();

    let mut all = Vec::new();
    for request in endpoint.requests() {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let form = form_urlencoded::parse(&body);
        let claims = form.filter(|(name, _)| name == "claims");
        all.push(claims.map(|(_, value)| value.into_owned()).collect());
    }
    all
}

// R7
#[tokio::test(start_paused = true)]
async fn claims_of_a_challenge_are_added_to_those_of_the_credentials() {
    let own = json!({"access_token": {"xms_cc": {"values": ["cp1"]}}, "userinfo": {"a": null}});
    let wanted = json!({"access_token": {"nbf": {"essential": true, "value": "1"}}});
    let credentials = credentials().parameter("claims", own.to_string());
    let claims = requested_claims(credentials, &wanted).await;
    assert_eq!(claims[0], [own.to_string()]);
    let [joined] = &claims[1][..] else { panic!("{claims:?}") };
    assert_eq!(
        serde_json::from_str::<Value>(joined).unwrap(),
        json!({
            "access_token": {
                "xms_cc": {"values": ["cp1"]},
                "nbf": {"essential": true, "value": "1"},
            },
            "userinfo": {"a": null},
        })
    );
}

// R7
#[tokio::test(start_paused = true)]
async fn claims_of_a_challenge_override_those_of_the_credentials() {
    let own = json!({"access_token": {"nbf": {"value": "1"}}});
    let wanted = json!({"access_token": {"nbf": {"value": "2"}}});
    for own in [own.to_string(), "malformed".to_owned(), "[1]".to_owned()] {
        let claims =
            requested_claims(credentials().parameter("claims", own.as_str()), &wanted).await;
        assert_eq!(claims, [[own], [wanted.to_string()]]);
    }
}
