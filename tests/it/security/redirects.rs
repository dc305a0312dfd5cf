use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use tower::{ServiceBuilder, ServiceExt};
use tower_http::follow_redirect::FollowRedirectLayer;
use tower_http::follow_redirect::policy::FilterCredentials;
use tower_oauth2::{NoToken, OAuth2Layer, Origins, RequestExt, TokenError, TokenErrorKind, Tokens};

use super::{HttpRequest, HttpResponse, layer_for, only, request};
use crate::support::{Api, ScriptedSource, credentials, hour};

/// Creates an API that redirects `/start` to a location, and returns `then` to other requests.
fn redirecting(status: u16, location: &'static str, then: u16) -> Api {
    Api::new(move |request: &HttpRequest| {
        let mut response = HttpResponse::default();
        if request.uri().path() == "/start" {
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response.headers_mut().insert(LOCATION, HeaderValue::from_static(location));
        } else {
            *response.status_mut() = StatusCode::from_u16(then).unwrap();
        }
        response
    })
}

// X2
#[tokio::test]
async fn a_redirect_to_another_origin_is_followed_without_the_token() {
    for location in [
        "https://evil.test/",
        "//evil.test/",
        "https://api.test:8443/",
        "http://api.test/",
        "http://api.test:443/",
        "https://api.test.evil.test/",
        "https://api.test@evil.test/",
        "https://api.test:443@evil.test/",
        r"https:\\evil.test\@api.test/",
        "https://[2001:db8::2]/",
        "HTTPS://EVIL.TEST/",
    ] {
        for status in [301, 302, 303, 307, 308] {
            let (layer, source) = layer_for(only(&["https://api.test", "https://[2001:db8::1]"]));
            let api = redirecting(status, location, 401);
            let stack = ServiceBuilder::new()
                .layer(FollowRedirectLayer::new())
                .layer(layer)
                .service(api.clone());
            let response = stack.oneshot(request("https://api.test/start")).await.unwrap();
            // The 401 of the other origin rejects no token.
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{status} {location}");
            assert_eq!(api.tokens(), ["token-1", ""], "{status} {location}");
            assert_eq!(source.count(), 1, "{status} {location}");
        }
    }
}

// X2
#[tokio::test]
async fn a_redirect_within_the_origin_is_followed_with_the_token() {
    for location in [
        "/there",
        "there",
        "https://api.test/there",
        "https://api.test:443/there",
        "HTTPS://API.TEST/there",
        "https://user:pw@api.test/there",
        "https://[2001:DB8::1]/there",
        "https://[2001:db8:0::1]:443/there",
    ] {
        let (layer, source) = layer_for(only(&["https://api.test", "https://[2001:db8::1]"]));
        let api = redirecting(307, location, 200);
        let stack = ServiceBuilder::new()
            .layer(FollowRedirectLayer::new())
            .layer(layer)
            .service(api.clone());
        let response = stack.oneshot(request("https://api.test/start")).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(api.tokens(), ["token-1", "token-1"], "{location}");
        assert_eq!(source.count(), 1);
    }
}

// X1: `Origins::any` does not include clear text.
#[tokio::test]
async fn a_redirect_to_clear_text_is_an_error_with_any_origin() {
    let (layer, _) = layer_for(Origins::any());
    let api = redirecting(302, "http://api.test/there", 200);
    let stack =
        ServiceBuilder::new().layer(FollowRedirectLayer::new()).layer(layer).service(api.clone());
    let error = stack.oneshot(request("https://api.test/start")).await.unwrap_err();
    assert_eq!(TokenError::find_in(&*error).unwrap().kind(), TokenErrorKind::InsecureUri);
    assert_eq!(api.tokens(), ["token-1"]);
}

// X2
#[tokio::test]
async fn a_redirect_within_the_origin_keeps_the_tokens_of_a_request() {
    let (layer, source) = layer_for(only(&["https://api.test"]));
    let api = redirecting(302, "/there", 200);
    let stack =
        ServiceBuilder::new().layer(FollowRedirectLayer::new()).layer(layer).service(api.clone());
    let without = request("https://api.test/start").no_token();
    stack.clone().oneshot(without).await.unwrap();
    assert_eq!((api.tokens(), source.count()), (vec![String::new(); 2], 0));

    let tenants = Tokens::new(credentials().audience("a tenant"), source.clone());
    let named = request("https://api.test/start").tokens(&tenants);
    stack.oneshot(named).await.unwrap();
    assert_eq!(api.tokens()[2..], ["token-1", "token-1"]);
    assert_eq!(source.requests()[0].credentials(), tenants.credentials());
}

// X2: across origins `FollowRedirect` drops extensions, so the layer's own token goes to each
// listed origin, unless its policy keeps `Tokens` and `NoToken`.
#[tokio::test]
async fn a_redirect_policy_can_keep_the_tokens_of_a_request() {
    let kept = FilterCredentials::new().allow_extension::<Tokens>().allow_extension::<NoToken>();
    for (policy, expected) in [
        (kept, [["", ""], ["token-1", "token-1"]]),
        (FilterCredentials::new(), [["", "token-1"], ["token-2", "token-1"]]),
    ] {
        let (layer, source) = layer_for(only(&["https://api.test", "https://other.test"]));
        let api = redirecting(302, "https://other.test/there", 200);
        let stack = ServiceBuilder::new()
            .layer(FollowRedirectLayer::with_policy(policy))
            .layer(layer)
            .service(api.clone());
        let without = request("https://api.test/start").no_token();
        let tenants = Tokens::new(credentials().audience("a tenant"), source);
        let named = request("https://api.test/start").tokens(&tenants);
        for (request, expected) in [without, named].into_iter().zip(expected) {
            let before = api.count();
            assert_eq!(stack.clone().oneshot(request).await.unwrap().status(), StatusCode::OK);
            assert_eq!(api.tokens()[before..], expected);
        }
    }
}

// X2: `FollowRedirect` drops a tenant's tokens across origins. The service's own must not replace
// them, so a layer for tenants has none.
#[tokio::test]
async fn a_redirect_that_loses_a_tenants_tokens_is_an_error() {
    let source = ScriptedSource::tokens(hour);
    let tenant = Tokens::new(credentials().audience("a tenant"), source.clone());
    for status in [301, 302, 303, 307, 308] {
        let layer = OAuth2Layer::per_request(only(&["https://api.test", "https://other.test"]));
        let api = redirecting(status, "https://other.test/there", 200);
        let stack = ServiceBuilder::new()
            .layer(FollowRedirectLayer::new())
            .layer(layer)
            .service(api.clone());
        let named = request("https://api.test/start").tokens(&tenant);
        let error = stack.clone().oneshot(named).await.unwrap_err();
        assert_eq!(TokenError::find_in(&*error).unwrap().kind(), TokenErrorKind::NoTokens);
        assert_eq!(api.tokens(), ["token-1"], "{status}");
    }
    assert_eq!(source.count(), 1);
}

// X2
#[tokio::test]
async fn a_redirect_policy_can_keep_a_tenants_tokens() {
    let source = ScriptedSource::tokens(hour);
    let tenant = Tokens::new(credentials().audience("a tenant"), source);
    let policy = FilterCredentials::new().allow_extension::<Tokens>();
    for (location, expected) in [
        ("https://other.test/there", ["token-1", "token-1"]),
        ("https://foreign.test/there", ["token-1", ""]),
    ] {
        let api = redirecting(307, location, 200);
        let layer = OAuth2Layer::per_request(only(&["https://api.test", "https://other.test"]));
        let stack = ServiceBuilder::new()
            .layer(FollowRedirectLayer::with_policy(policy.clone()))
            .layer(layer)
            .service(api.clone());
        let named = request("https://api.test/start").tokens(&tenant);
        assert_eq!(stack.oneshot(named).await.unwrap().status(), StatusCode::OK);
        assert_eq!(api.tokens(), expected);
    }
}
