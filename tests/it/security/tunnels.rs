//! Tests CONNECT requests, whose recipient is a proxy.

use std::sync::Arc;

use http::header::{AUTHORIZATION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use tower_oauth2::replay::{NotReplayed, ReplayPolicy, Replayed};
use tower_oauth2::{OAuth2Layer, Origins, RequestExt, TokenErrorKind, Tokens};

use super::{HttpRequest, HttpResponse, kind, layer_for, only, send, status};
use crate::support::{Api, ScriptedSource, credentials, hour};

const REJECTED: &str = r#"Bearer error="invalid_token""#;

fn connect(authority: &str) -> HttpRequest {
    Request::connect(authority).body(Full::default()).unwrap()
}

/// Creates a proxy that answers `token-1` with `status`, and a challenge in `field`.
fn proxy(status: u16, field: HeaderName) -> Api {
    Api::new(move |request| {
        let mut response = HttpResponse::default();
        if request.headers().get(PROXY_AUTHORIZATION).is_some_and(|value| value == "Bearer token-1")
        {
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response.headers_mut().insert(&field, HeaderValue::from_static(REJECTED));
        }
        response
    })
}

/// Returns what each request has in `Proxy-Authorization`.
fn sent(api: &Api) -> Vec<String> {
    let requests = api.requests();
    let value = |request: &HttpRequest| {
        let value = request.headers().get(PROXY_AUTHORIZATION);
        value.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
    };
    requests.iter().map(value).collect()
}

fn proxy_layer(origins: Origins) -> OAuth2Layer {
    layer_for(origins).0.header_name(PROXY_AUTHORIZATION)
}

// X2
#[tokio::test]
async fn a_tunnel_to_a_listed_host_gets_a_token_for_the_proxy() {
    let origins = only(&["https://db.test", "http://db.test:5432", "https://[2001:db8::1]:8443"]);
    for (authority, expected) in [
        ("db.test:443", "Bearer token-1"),
        ("DB.test:443", "Bearer token-1"),
        ("db.test:5432", "Bearer token-1"),
        ("[2001:DB8::1]:8443", "Bearer token-1"),
        ("db.test:80", ""),
        ("db.test:8443", ""),
        ("db.test", ""),
        ("db.test.evil.test:443", ""),
        ("db.test@evil.test:443", ""),
        ("evil.test:443", ""),
    ] {
        let api = Api::always(200);
        let response = send(&proxy_layer(origins.clone()), &api, connect(authority)).await;
        assert_eq!(status(response), StatusCode::OK);
        assert_eq!(sent(&api), [expected], "{authority}");
        assert_eq!(api.requests()[0].uri(), authority);
    }
    let api = Api::always(200);
    send(&proxy_layer(Origins::any()), &api, connect("any.test:1")).await.unwrap();
    assert_eq!(sent(&api), ["Bearer token-1"]);
}

// R1
#[tokio::test]
async fn a_407_rejects_the_token_for_the_proxy() {
    for (policy, field) in [
        (ReplayPolicy::unauthorized(), PROXY_AUTHENTICATE),
        (ReplayPolicy::unauthorized(), WWW_AUTHENTICATE),
        (ReplayPolicy::invalid_token(), PROXY_AUTHENTICATE),
        (ReplayPolicy::statuses([419]).or(ReplayPolicy::invalid_token()), PROXY_AUTHENTICATE),
    ] {
        // The order of the two settings makes no difference.
        let before = layer_for(only(&["https://db.test"])).0.replay_policy(policy.clone());
        let after = proxy_layer(only(&["https://db.test"])).replay_policy(policy);
        for layer in [before.header_name(PROXY_AUTHORIZATION), after] {
            let api = proxy(407, field.clone());
            let response = send(&layer, &api, connect("db.test:443")).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.extensions().get(), Some(&Replayed::Yes));
            assert_eq!(sent(&api), ["Bearer token-1", "Bearer token-2"]);
            let again = &api.requests()[1];
            assert_eq!(
                (again.method(), again.uri()),
                (&Method::CONNECT, &"db.test:443".parse().unwrap())
            );
        }
    }
}

// R1: a token in `Authorization` is not for a proxy.
#[tokio::test]
async fn a_407_rejects_no_token_in_another_header() {
    let (layer, source) = layer_for(only(&["https://api.test"]));
    let proxied = layer.clone().header_name(PROXY_AUTHORIZATION).header_name(AUTHORIZATION);
    for layer in [layer, proxied] {
        let api = Api::always(407);
        let response = send(&layer, &api, super::request("https://api.test/")).await.unwrap();
        assert_eq!(response.extensions().get::<Replayed>(), None);
        assert_eq!((api.count(), source.count()), (1, 1));
    }
}

// R7: a challenge of the API says nothing of the token for the proxy.
#[tokio::test]
async fn a_challenge_in_the_field_of_the_other_status_is_ignored() {
    let policy = ReplayPolicy::invalid_token();
    for (status, field) in [(407, WWW_AUTHENTICATE), (401, PROXY_AUTHENTICATE)] {
        let api = proxy(status, field);
        let layer = proxy_layer(only(&["https://db.test"])).replay_policy(policy.clone());
        let response = send(&layer, &api, connect("db.test:443")).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(sent(&api), ["Bearer token-1"]);
    }
    // Statuses that the caller lists are what they are.
    let api = proxy(407, PROXY_AUTHENTICATE);
    let layer =
        proxy_layer(only(&["https://db.test"])).replay_policy(ReplayPolicy::statuses([401]));
    assert_eq!(send(&layer, &api, connect("db.test:443")).await.unwrap().status(), 407);
    assert_eq!(api.count(), 1);
}

// X2: the origin server never sees a CONNECT, so its token would go to a proxy.
#[tokio::test]
async fn a_tunnel_gets_no_token_in_another_header() {
    let own = HeaderName::from_static("x-proxy-token");
    for origins in [only(&["https://db.test"]), Origins::any()] {
        let (layer, source) = layer_for(origins);
        let with_http = layer.clone().dangerously_allow_http();
        for layer in [layer.clone(), with_http, layer.header_name(own.clone())] {
            let api = Api::always(401);
            let response = send(&layer, &api, connect("db.test:443")).await.unwrap();
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
            assert_eq!((api.count(), source.count()), (1, 0));
            assert!(api.requests()[0].headers().is_empty());
        }
    }
    // An extended CONNECT (RFC 8441) goes to the API.
    let (layer, _) = layer_for(only(&["https://api.test"]));
    let api = Api::always(200);
    send(&layer, &api, connect("https://api.test/socket")).await.unwrap();
    assert_eq!(api.tokens(), ["token-1"]);
}

// X2
#[tokio::test]
async fn narrowed_and_missing_tokens_apply_to_tunnels_too() {
    let source = ScriptedSource::tokens(hour);
    let tokens = Tokens::new(credentials(), source.clone());
    let origins = only(&["https://a.test", "https://b.test"]);
    let layer = OAuth2Layer::per_request(origins).header_name(PROXY_AUTHORIZATION);
    let narrowed = Arc::new(tokens.only_for(only(&["https://b.test"])));
    let api = Api::always(200);
    for authority in ["a.test:443", "b.test:443", "c.test:443"] {
        send(&layer, &api, connect(authority).tokens(&narrowed)).await.unwrap();
    }
    assert_eq!(sent(&api), ["", "Bearer token-1", ""]);
    let refused = send(&layer, &api, connect("a.test:443")).await;
    assert_eq!(kind(refused), TokenErrorKind::NoTokens);
    send(&layer, &api, connect("c.test:443")).await.unwrap();
    assert_eq!(api.count(), 4);
}

// R6, R8: a proxy that rejects every token opens the breaker, as an API does.
#[tokio::test]
async fn a_proxy_that_rejects_each_token_costs_two_token_requests() {
    let (layer, source) = layer_for(only(&["https://db.test"]));
    let layer = layer.header_name(PROXY_AUTHORIZATION);
    let api = Api::always(407);
    let first = send(&layer, &api, connect("db.test:443")).await.unwrap();
    assert_eq!(first.extensions().get(), Some(&Replayed::Yes));
    let second = send(&layer, &api, connect("db.test:443")).await.unwrap();
    let reason = Replayed::No(NotReplayed::BreakerOpen);
    assert_eq!(second.extensions().get(), Some(&reason));
    assert_eq!((api.count(), source.count()), (3, 2));
}

// W10: a proof names a URI, and a CONNECT has none.
#[cfg(feature = "jwt")]
#[tokio::test]
async fn a_tunnel_with_a_token_that_is_bound_to_a_key_is_an_error() {
    let bound = |_| tower_oauth2::AccessToken::dpop("bound").unwrap();
    let credentials = credentials().dpop(tower_oauth2::jwt::DpopKey::generate().unwrap());
    let tokens = Tokens::new(credentials, ScriptedSource::tokens(bound));
    for origins in [only(&["https://db.test"]), Origins::any()] {
        let layer = OAuth2Layer::new(tokens.clone(), origins).header_name(PROXY_AUTHORIZATION);
        let api = Api::always(200);
        let refused = send(&layer, &api, connect("db.test:443")).await;
        assert_eq!(kind(refused), TokenErrorKind::Proof);
        assert_eq!(api.count(), 0);
    }
}
