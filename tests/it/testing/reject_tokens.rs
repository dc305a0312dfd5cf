use http::HeaderName;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use tower::{Layer, Service, ServiceExt};
use tower_oauth2::replay::{ReplayPolicy, Replayed};
use tower_oauth2::testing::{RejectTokensLayer, ScriptedSource};
use tower_oauth2::{OAuth2Layer, Origins, Tokens};

use crate::support::{Api, SECRET, credentials, get, hour};

fn layer(source: &ScriptedSource) -> OAuth2Layer {
    OAuth2Layer::new(Tokens::new(credentials(), source.clone()), Origins::any())
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_is_replaced_and_the_request_replayed() {
    let (source, api) = (ScriptedSource::tokens(hour), Api::always(200));
    let rejecting = RejectTokensLayer::new("token-1");
    let layer = layer(&source).replay_policy(ReplayPolicy::invalid_token());
    let response = layer.layer(rejecting.layer(api.clone())).send(get("/")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.extensions().get(), Some(&Replayed::Yes));
    assert_eq!((rejecting.rejections(), source.count()), (1, 2));
    assert_eq!(api.tokens(), ["token-2"], "the API sees no rejected request");
}

#[tokio::test(start_paused = true)]
async fn a_token_can_be_revoked_while_it_is_used() {
    let (source, api) = (ScriptedSource::tokens(hour), Api::always(200));
    let rejecting = RejectTokensLayer::new(Vec::<String>::new());
    let client = layer(&source).layer(rejecting.layer(api.clone()));
    client.send(get("/")).await.unwrap();
    assert_eq!(rejecting.rejections(), 0);
    rejecting.reject("token-1");
    client.send(get("/")).await.unwrap();
    assert_eq!((rejecting.rejections(), source.count()), (1, 2));
    assert_eq!(api.tokens(), ["token-1", "token-2"]);
}

#[tokio::test(start_paused = true)]
async fn tokens_in_custom_headers_are_rejected_too() {
    let (source, api) = (ScriptedSource::tokens(hour), Api::always(200));
    let rejecting = RejectTokensLayer::new(["token-1", "token-2"]);
    let layer = layer(&source).header_name(HeaderName::from_static("x-api-token")).no_scheme();
    let response = layer.layer(rejecting.layer(api.clone())).send(get("/")).await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!((rejecting.rejections(), api.count()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn the_challenge_names_the_scheme_of_the_token() {
    let rejecting = RejectTokensLayer::new("token-1");
    let cases = [
        ("Bearer token-1", Some(r#"Bearer error="invalid_token""#)),
        ("DPoP token-1", Some(r#"DPoP error="invalid_token""#)),
        ("token-1", Some(r#"Bearer error="invalid_token""#)),
        ("Bearer token-10", None),
        ("Bearer", None),
    ];
    for (value, challenge) in cases {
        let mut request = get("/");
        request.headers_mut().insert(AUTHORIZATION, value.parse().unwrap());
        let response = rejecting.layer(Api::always(200)).oneshot(request).await.unwrap();
        let found = response.headers().get(WWW_AUTHENTICATE).map(|value| value.to_str().unwrap());
        assert_eq!(found, challenge, "{value}");
        assert_eq!(response.status(), if challenge.is_some() { 401 } else { 200 });
    }
    assert_eq!(rejecting.rejections(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_request_with_a_rejected_token_counts() {
    let rejecting = RejectTokensLayer::new("token-1");
    let mut request = get("/");
    request.headers_mut().insert(AUTHORIZATION, "Bearer token-1".parse().unwrap());
    drop(rejecting.layer(Api::always(200)).call(request));
    assert_eq!(rejecting.rejections(), 1);
}

// X3
#[test]
fn debug_shows_the_number_of_tokens_and_not_their_text() {
    let rejecting = RejectTokensLayer::new(SECRET);
    assert_eq!(format!("{rejecting:?}"), "RejectTokensLayer { tokens: 1, rejections: 0 }");
    let service = rejecting.layer(());
    assert!(!format!("{service:?}").contains(SECRET));
}
