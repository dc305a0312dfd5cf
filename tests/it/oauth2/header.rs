use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION};
use http::{HeaderName, HeaderValue, StatusCode};
use tower_oauth2::{AccessToken, OAuth2Layer, RequestExt, TokenCache, Tokens};

use super::{HttpResponse, origins};
use crate::support::{Api, ScriptedSource, credentials, get, hour};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

fn layer() -> OAuth2Layer {
    OAuth2Layer::new(Tokens::new(credentials(), ScriptedSource::tokens(hour)), origins())
}

/// Creates an API that rejects requests whose `header` is `rejected`.
fn rejecting(header: HeaderName, rejected: &'static str) -> Api {
    Api::new(move |request| {
        let mut response = HttpResponse::default();
        if request.headers().get(&header).is_some_and(|value| value == rejected) {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        response
    })
}

/// Returns the values of a header, which must be sensitive.
fn values(api: &Api, header: &HeaderName) -> Vec<String> {
    let requests = api.requests();
    let values = requests.iter().map(|request| {
        let all: Vec<_> = request.headers().get_all(header).iter().collect();
        let [value] = all[..] else { panic!("{} values", all.len()) };
        assert!(value.is_sensitive());
        value.to_str().unwrap().to_owned()
    });
    values.collect()
}

// X3
#[tokio::test]
async fn a_scheme_precedes_each_token() {
    let api = rejecting(AUTHORIZATION, "Zoho-oauthtoken token-1");
    let service = layer().scheme("Zoho-oauthtoken").unwrap().layer(api.clone());
    for _ in 0..2 {
        assert_eq!(service.send(get("/")).await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(
        values(&api, &AUTHORIZATION),
        ["Zoho-oauthtoken token-1", "Zoho-oauthtoken token-2", "Zoho-oauthtoken token-2"]
    );
}

// X3
#[tokio::test]
async fn without_a_scheme_the_bare_token_is_sent() {
    let api = rejecting(API_KEY, "token-1");
    let service = layer().header_name(API_KEY).no_scheme().layer(api.clone());
    for _ in 0..2 {
        let mut request = get("/");
        request.headers_mut().insert(API_KEY, HeaderValue::from_static("of the caller"));
        request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static("Basic own"));
        assert_eq!(service.send(request).await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(values(&api, &API_KEY), ["token-1", "token-2", "token-2"]);
    assert!(api.requests().iter().all(|r| r.headers()[AUTHORIZATION] == "Basic own"));
}

// X3: Zoho and Shopify.
#[tokio::test]
async fn the_headers_of_known_apis_can_be_sent() {
    let fixed = || OAuth2Layer::new(Tokens::fixed(AccessToken::new("t").unwrap()), origins());
    let shopify = HeaderName::from_static("x-shopify-access-token");
    for (layer, header, expected) in [
        (fixed().scheme("Zoho-oauthtoken").unwrap(), AUTHORIZATION, "Zoho-oauthtoken t"),
        (fixed().header_name(shopify.clone()).no_scheme(), shopify, "t"),
    ] {
        let api = Api::always(200);
        layer.layer(api.clone()).send(get("/")).await.unwrap();
        assert_eq!(values(&api, &header), [expected]);
        assert_eq!(api.requests()[0].headers().len(), 1);
    }
}

// S2: the layer keeps the last header value, and must not use it for another token.
#[tokio::test]
async fn tenants_share_a_layer_with_a_scheme_and_no_header_value() {
    let source = ScriptedSource::tokens(hour);
    let caches = [TokenCache::new(source.clone()), TokenCache::new(source)];
    let one = caches[0].tokens(&credentials());
    let other = caches[0].tokens(&credentials().scope("other"));
    let elsewhere = caches[1].tokens(&credentials());
    let fixed = Tokens::fixed(AccessToken::new("fixed").unwrap());
    let api = Api::always(200);
    let layer = OAuth2Layer::per_request(origins()).scheme("Token").unwrap();
    let service = layer.layer(api.clone());
    let tenants = [&one, &other, &elsewhere, &fixed, &fixed, &one, &one, &elsewhere];
    for tenant in tenants {
        service.send(get("/").tokens(tenant)).await.unwrap();
    }
    let expected = ["token-1", "token-2", "token-3", "fixed", "fixed", "token-1", "token-1"];
    let expected = expected.iter().chain(&["token-3"]).map(|token| format!("Token {token}"));
    assert_eq!(values(&api, &AUTHORIZATION), expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn the_last_setting_of_a_header_wins() {
    let usual = "Bearer token-1";
    for (layer, header, expected) in [
        (layer(), AUTHORIZATION, usual),
        (layer().header_name(AUTHORIZATION), AUTHORIZATION, usual),
        (layer().header_name(PROXY_AUTHORIZATION), PROXY_AUTHORIZATION, usual),
        (layer().header_name(API_KEY).header_name(AUTHORIZATION), AUTHORIZATION, usual),
        (layer().no_scheme().scheme("Token").unwrap(), AUTHORIZATION, "Token token-1"),
        (layer().scheme("Token").unwrap().no_scheme(), AUTHORIZATION, "token-1"),
        (layer().scheme("Token").unwrap().header_name(API_KEY), API_KEY, "Token token-1"),
        (layer().scheme("a").unwrap().scheme("b").unwrap(), AUTHORIZATION, "b token-1"),
    ] {
        let api = Api::always(200);
        layer.layer(api.clone()).send(get("/")).await.unwrap();
        assert_eq!(values(&api, &header), [expected]);
        assert_eq!(api.requests()[0].headers().len(), 1);
    }
}

#[tokio::test]
async fn a_setting_of_a_layer_does_not_change_its_clones() {
    let tokens = layer().scheme("Token").unwrap();
    let keys = tokens.clone().no_scheme();
    let api = Api::always(200);
    let [tokens, keys] = [tokens, keys].map(|layer| layer.layer(api.clone()));
    for _ in 0..2 {
        tokens.send(get("/")).await.unwrap();
        keys.send(get("/")).await.unwrap();
    }
    assert_eq!(
        values(&api, &AUTHORIZATION),
        ["Token token-1", "token-1", "Token token-1", "token-1"]
    );
}

#[test]
fn a_scheme_that_is_not_one_word_is_a_config_error() {
    for scheme in ["", " ", "two words", "Bearer ", "a\r\nb", "a\0", "é", "(a)", "a:", "a,b"] {
        let error = layer().scheme(scheme).unwrap_err();
        assert!(error.to_string().starts_with("scheme must be one word"), "{error}");
    }
    for scheme in ["Bearer", "token", "Zoho-oauthtoken", "a.b_c~1!"] {
        assert!(layer().scheme(scheme).is_ok(), "{scheme}");
    }
}
