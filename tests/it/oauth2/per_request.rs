use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, StatusCode};
use tower_oauth2::replay::Replayed;
use tower_oauth2::{OAuth2Layer, RequestExt, TokenCache, TokenError, TokenErrorKind, Tokens};

use super::{foreign, kind, origins};
use crate::support::{Api, ScriptedSource, credentials, get, hour};

fn tokens(source: &ScriptedSource) -> Tokens {
    Tokens::new(credentials(), source.clone())
}

// X2
#[tokio::test]
async fn a_request_that_names_no_tokens_fails_at_a_listed_origin() {
    let api = Api::always(200);
    let service = OAuth2Layer::per_request(origins()).layer(api.clone());
    let error = service.send(get("/")).await.unwrap_err();
    let error = TokenError::find_in(&*error).unwrap();
    assert_eq!(error.kind(), TokenErrorKind::NoTokens);
    assert!(!error.is_transient());
    assert!(error.to_string().contains("https://api.test"), "{error}");
    assert_eq!(api.count(), 0);
}

// X2
#[tokio::test]
async fn a_request_that_names_no_tokens_is_forwarded_to_other_origins() {
    let api = Api::always(401);
    let service = OAuth2Layer::per_request(origins()).layer(api.clone());
    let mut own = foreign();
    own.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static("Basic own"));
    let response = service.send(own).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.extensions().get::<Replayed>(), None);
    assert_eq!(api.count(), 1);
    assert_eq!(api.requests()[0].headers()[AUTHORIZATION], "Basic own");
}

#[tokio::test]
async fn a_layer_without_tokens_forwards_a_request_with_no_token() {
    let api = Api::always(200);
    let service = OAuth2Layer::per_request(origins()).layer(api.clone());
    service.send(get("/").no_token()).await.unwrap();
    let mut trace = get("/");
    *trace.method_mut() = Method::TRACE;
    service.send(trace).await.unwrap();
    assert_eq!(api.tokens(), ["", ""]);
}

// X2: a mistake that compiles must not send the layer's own token.
#[tokio::test]
async fn credentials_in_the_extensions_are_an_error() {
    let source = ScriptedSource::tokens(hour);
    let own = tokens(&source);
    own.warm().await.unwrap();
    for layer in [OAuth2Layer::new(own, origins()), OAuth2Layer::per_request(origins())] {
        let api = Api::always(200);
        let service = layer.layer(api.clone());
        let mut request = get("/");
        request.extensions_mut().insert(credentials().scope("tenant"));
        assert_eq!(kind(service.send(request).await), TokenErrorKind::NoTokens);
        assert_eq!(api.count(), 0);

        // Other origins get no token anyway.
        let mut request = foreign();
        request.extensions_mut().insert(credentials().scope("tenant"));
        service.send(request).await.unwrap();
        assert_eq!(api.tokens(), [""]);
    }
    assert_eq!(source.count(), 1);
}

// S2
#[tokio::test]
async fn two_tenants_have_their_own_tokens_through_one_layer() {
    let source = ScriptedSource::tokens(hour);
    let cache = TokenCache::new(source.clone());
    let [one, other] = ["one", "other"].map(|name| cache.tokens(&credentials().scope(name)));
    let api = Api::accepting(|token| token != "token-1");
    let service = OAuth2Layer::per_request(origins()).layer(api.clone());
    for expected in [vec!["token-1", "token-2", "token-3"], vec!["token-2", "token-3"]] {
        let before = api.count();
        for tenant in [&one, &other] {
            let response = service.send(get("/").tokens(tenant)).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
        }
        assert_eq!(api.tokens()[before..], expected);
    }
    assert_eq!(one.get().await.unwrap().secret(), "token-2");
    assert_eq!(other.get().await.unwrap().secret(), "token-3");
    assert_eq!(source.count(), 3);
}

#[tokio::test]
async fn named_tokens_replace_those_of_the_layer() {
    let source = ScriptedSource::tokens(hour);
    let cache = TokenCache::new(source.clone());
    let own = cache.tokens(&credentials());
    let tenant = cache.tokens(&credentials().scope("tenant"));
    let api = Api::always(200);
    let service = OAuth2Layer::new(own, origins()).layer(api.clone());
    for request in [get("/"), get("/").tokens(&tenant), get("/")] {
        service.send(request).await.unwrap();
    }
    assert_eq!(api.tokens(), ["token-1", "token-2", "token-1"]);
    let requested: Vec<_> = source.requests().iter().map(|r| r.credentials().clone()).collect();
    assert_eq!(requested, [credentials(), credentials().scope("tenant")]);
}

#[test]
fn a_service_returns_the_tokens_of_its_layer() {
    let tokens = tokens(&ScriptedSource::tokens(hour));
    let service = OAuth2Layer::new(tokens, origins()).layer(Api::always(200));
    assert_eq!(service.tokens().unwrap().credentials(), &credentials());
    assert!(OAuth2Layer::per_request(origins()).layer(Api::always(200)).tokens().is_none());
}
