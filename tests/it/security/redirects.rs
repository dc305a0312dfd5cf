use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use tower::{ServiceBuilder, ServiceExt};
use tower_http::follow_redirect::FollowRedirectLayer;
use tower_http::follow_redirect::policy::FilterCredentials;
use tower_oauth2::{Credentials, NoToken, Origins, TokenError, TokenErrorKind};

use super::{HttpRequest, HttpResponse, layer_for, only, request};
use crate::support::{Api, credentials};

/// Redirects whoever asks for `/start` to this place, and answers others with this status.
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
async fn a_redirect_to_another_origin_takes_no_token_along() {
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
            // Its 401 is no reason for another token either.
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{status} {location}");
            assert_eq!(api.tokens(), ["token-1", ""], "{status} {location}");
            assert_eq!(source.count(), 1, "{status} {location}");
        }
    }
}

// X2
#[tokio::test]
async fn a_redirect_within_the_origin_takes_the_token_along() {
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

// X1: whoever lets any origin have a token, lets none have it in clear text.
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
async fn what_a_request_says_of_its_token_holds_after_a_redirect_within_the_origin() {
    let (layer, source) = layer_for(only(&["https://api.test"]));
    let api = redirecting(302, "/there", 200);
    let stack =
        ServiceBuilder::new().layer(FollowRedirectLayer::new()).layer(layer).service(api.clone());
    let mut without = request("https://api.test/start");
    without.extensions_mut().insert(NoToken);
    stack.clone().oneshot(without).await.unwrap();
    assert_eq!((api.tokens(), source.count()), (vec![String::new(); 2], 0));

    let tenants = credentials().audience("a tenant");
    let mut named = request("https://api.test/start");
    named.extensions_mut().insert(tenants.clone());
    stack.oneshot(named).await.unwrap();
    assert_eq!(api.tokens()[2..], ["token-1", "token-1"]);
    assert_eq!(*source.requests()[0].credentials(), tenants);
}

// X2: across origins `FollowRedirect` drops extensions, so that the cache's own token goes to any
// listed origin, unless its policy keeps what a request says of its token.
#[tokio::test]
async fn what_a_request_says_of_its_token_is_kept_across_listed_origins_by_the_redirect_policy() {
    let kept =
        FilterCredentials::new().allow_extension::<Credentials>().allow_extension::<NoToken>();
    for (policy, expected) in [
        (kept, [["", ""], ["token-1", "token-1"]]),
        (FilterCredentials::new(), [["", "token-1"], ["token-2", "token-1"]]),
    ] {
        let (layer, _) = layer_for(only(&["https://api.test", "https://other.test"]));
        let api = redirecting(302, "https://other.test/there", 200);
        let stack = ServiceBuilder::new()
            .layer(FollowRedirectLayer::with_policy(policy))
            .layer(layer)
            .service(api.clone());
        let mut without = request("https://api.test/start");
        without.extensions_mut().insert(NoToken);
        let mut named = request("https://api.test/start");
        named.extensions_mut().insert(credentials().audience("a tenant"));
        for (request, expected) in [without, named].into_iter().zip(expected) {
            let before = api.count();
            assert_eq!(stack.clone().oneshot(request).await.unwrap().status(), StatusCode::OK);
            assert_eq!(api.tokens()[before..], expected);
        }
    }
}
