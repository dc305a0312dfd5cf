use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::AUTHORIZATION;
use http::{Response, StatusCode};
use http_body_util::Full;
use tower::BoxError;
use tower_oauth2::client_auth::{ClientAuthentication, TokenRequestParts};
use tower_oauth2::{
    ClientAuth, Credentials, OAuth2Layer, Origins, TokenCache, TokenEndpoint, TokenError,
};

use super::{HttpRequest, HttpResponse, layer_for, only, request, send, token_response};
use crate::support::Api;

const ENDPOINT: &str = "https://auth.test/token";

fn tenant(id: &str, secret: &str) -> Credentials {
    Credentials::new(ENDPOINT, ClientAuth::client_secret_basic(id, secret)).unwrap()
}

fn with(credentials: &Credentials) -> HttpRequest {
    let mut request = request("https://api.test/");
    request.extensions_mut().insert(credentials.clone());
    request
}

/// A token endpoint that knows `acme` with `right`, and nobody else.
fn auth_server() -> Api {
    let right = format!("Basic {}", BASE64_STANDARD.encode("acme:right"));
    Api::new(move |request: &HttpRequest| {
        if request.headers()[AUTHORIZATION] == *right {
            return token_response("acmes-token");
        }
        let mut response = Response::new(Full::from(r#"{"error":"invalid_client"}"#));
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        response
    })
}

// S2, alf 23
#[tokio::test]
async fn a_wrong_secret_never_gets_the_token_of_the_right_one() {
    let (right, wrong) = (tenant("acme", "right"), tenant("acme", "wrong"));
    let auth_server = auth_server();
    // Neither as the cache's own, nor as those of a request.
    for default in [&right, &wrong, &tenant("service", "own")] {
        let tokens = TokenCache::new(default.clone(), TokenEndpoint::new(auth_server.clone()));
        let layer = OAuth2Layer::new(tokens.clone(), only(&["https://api.test"]));
        let api = Api::always(200);
        for round in 1..=3 {
            send(&layer, &api, with(&right)).await.unwrap();
            let error = send(&layer, &api, with(&wrong)).await.unwrap_err();
            let error = TokenError::find_in(&*error).unwrap();
            assert_eq!(error.error_code(), Some("invalid_client"));
            assert_eq!(api.tokens(), vec!["acmes-token"; round]);
        }
        // Nor does a failure of one become the other's.
        assert!(tokens.get_for(&wrong).await.is_err());
        assert_eq!(tokens.get_for(&right).await.unwrap().secret(), "acmes-token");
    }
}

// S2
#[tokio::test]
async fn a_rejection_of_one_tenants_token_costs_no_other_tenant_a_fetch() {
    let (layer, source) = layer_for(only(&["https://api.test"]));
    let api = Api::accepting(|token| token != "token-1");
    let (one, other) = (tenant("one", "s"), tenant("other", "s"));
    // The other one's is token-1, which is rejected from the start.
    for (credentials, expected) in [
        (&other, vec!["token-1", "token-2"]),
        (&one, vec!["token-3"]),
        (&other, vec!["token-2"]),
        (&one, vec!["token-3"]),
    ] {
        let before = api.count();
        send(&layer, &api, with(credentials)).await.unwrap();
        assert_eq!(api.tokens()[before..], expected);
    }
    let asked: Vec<_> = source.requests().iter().map(|r| r.credentials().clone()).collect();
    assert_eq!(asked, [other.clone(), other, one]);
}

/// Credentials that differ from one another in one thing each.
fn all_different() -> Vec<Credentials> {
    let at = |endpoint: &str| {
        Credentials::new(endpoint, ClientAuth::client_secret_basic("id", "secret")).unwrap()
    };
    let by = |auth| Credentials::new(ENDPOINT, auth).unwrap();
    let base = || at(ENDPOINT);
    vec![
        base(),
        at("https://auth.test/token/"),
        at("https://auth.test/Token"),
        at("https://auth.test/token?tenant=1"),
        at("https://auth.test/token?tenant=2"),
        at("https://auth.test:8443/token"),
        at("https://auth2.test/token"),
        at("http://auth.test/token"),
        by(ClientAuth::client_secret_basic("id", "other secret")),
        by(ClientAuth::client_secret_basic("other id", "secret")),
        by(ClientAuth::client_secret_basic("ids", "ecret")),
        by(ClientAuth::client_secret_basic("id", "")),
        by(ClientAuth::client_secret_basic("ID", "secret")),
        by(ClientAuth::client_secret_basic_raw("id", "secret")),
        by(ClientAuth::client_secret_post("id", "secret")),
        by(ClientAuth::none("id")),
        by(ClientAuth::custom(Custom("client_secret_basic", "one"))),
        by(ClientAuth::custom(Custom("client_secret_basic", "two"))),
        by(ClientAuth::custom(Custom("another_method", "one"))),
        base().scope("read"),
        base().scope("read write"),
        base().scope("readwrite"),
        base().scope("Read"),
        base().audience("read"),
        base().audience("https://a.test/"),
        base().audience("https://a.test"),
        base().resource("https://a.test"),
        base().resource("https://a.test").resource("https://b.test"),
        base().parameter("name", "value"),
        base().parameter("name", "value2"),
        base().parameter("name2", "value"),
        base().parameter("namev", "alue"),
        base().parameter("name", "value").parameter("name2", "value"),
        base().parameter("name", "valuename2value"),
        base().parameter("name", "value&name2=value"),
        base().scope("read").audience("https://a.test"),
    ]
}

/// A method of one's own, known by its name and its identity.
struct Custom(&'static str, &'static str);

impl ClientAuthentication for Custom {
    fn method(&self) -> &str {
        self.0
    }

    fn client_id(&self) -> Option<&str> {
        Some("id")
    }

    fn identity(&self) -> Vec<u8> {
        self.1.as_bytes().to_vec()
    }

    async fn authenticate(&self, _: &mut TokenRequestParts) -> Result<(), BoxError> {
        Ok(())
    }
}

// S2, alf 23, 24
#[tokio::test]
async fn credentials_that_differ_in_anything_have_a_token_each() {
    let all = all_different();
    let (layer, source) = layer_for(Origins::any());
    let api = Api::always(200);
    for _ in 0..2 {
        for credentials in &all {
            send(&layer, &api, with(credentials)).await.unwrap();
        }
    }
    let expected: Vec<_> = (1..=all.len()).map(|n| format!("token-{n}")).collect();
    assert_eq!(api.tokens(), [&expected[..], &expected[..]].concat());
    let asked: Vec<_> = source.requests().iter().map(|r| r.credentials().clone()).collect();
    assert_eq!(asked, all);
}

// S2
#[test]
fn credentials_are_keys_of_any_map() {
    let all = all_different();
    for (i, one) in all.iter().enumerate() {
        for (j, other) in all.iter().enumerate() {
            assert_eq!(one == other, i == j, "{i} {j}");
        }
    }
    let distinct: HashSet<_> = all.iter().cloned().collect();
    assert_eq!(distinct.len(), all.len());
    let numbers: HashMap<_, _> = all.iter().cloned().zip(0..).collect();
    // Made anew, they are found again.
    for (n, again) in all_different().iter().enumerate() {
        assert_eq!(numbers[again], n);
    }
}

// S2
#[tokio::test]
async fn credentials_that_mean_the_same_share_a_token() {
    let by = || ClientAuth::client_secret_basic("id", "secret");
    let at = |endpoint: &str| Credentials::new(endpoint, by()).unwrap();
    let base = at(ENDPOINT).scope("read write").resource("a:1").resource("b:2");
    let base = base.parameter("one", "1").parameter("two", "2");
    let rest = |credentials: Credentials| {
        credentials
            .parameter("two", "22")
            .parameter("two", "2")
            .resource("b:2")
            .resource("")
            .scope(" write  read write ")
            .resource("a:1")
            .audience("")
            .parameter("one", "1")
            .parameter("three", "3")
            .parameter("three", "")
    };
    let same = [
        base.clone(),
        rest(at(ENDPOINT)),
        rest(at("HTTPS://AUTH.test:443/token")),
        // These say what is done with the token, not what it is.
        base.clone().default_expires_in(Duration::from_secs(60)),
        base.clone().origins(only(&["https://api.test"])),
    ];
    let (layer, source) = layer_for(Origins::any());
    let api = Api::always(200);
    let hasher = RandomState::new();
    for credentials in &same {
        assert_eq!(*credentials, base);
        assert_eq!(hasher.hash_one(credentials), hasher.hash_one(&base));
        send(&layer, &api, with(credentials)).await.unwrap();
    }
    assert_eq!(api.tokens(), ["token-1"; 5]);
    assert_eq!(source.count(), 1);
}

// alf 24
#[tokio::test]
async fn two_audiences_never_send_each_others_token() {
    let auth_server = Api::new(|request: &HttpRequest| {
        let body = format!("{:?}", request.body());
        let audience = ["first", "second"].into_iter().find(|name| body.contains(name));
        token_response(&format!("for-{}", audience.unwrap()))
    });
    let default = tenant("id", "secret").audience("first");
    let tokens = TokenCache::new(default, TokenEndpoint::new(auth_server.clone()));
    let layer = OAuth2Layer::new(tokens, only(&["https://api.test"]));
    let api = Api::always(200);
    for _ in 0..2 {
        send(&layer, &api, request("https://api.test/")).await.unwrap();
        send(&layer, &api, with(&tenant("id", "secret").audience("second"))).await.unwrap();
    }
    assert_eq!(api.tokens(), ["for-first", "for-second", "for-first", "for-second"]);
    assert_eq!(auth_server.count(), 2);
}

// R8: what one tenant's token meets at an API says nothing of another's.
#[tokio::test(start_paused = true)]
async fn a_tenant_whose_tokens_are_all_refused_trips_no_other_tenants_breaker() {
    let (layer, source) = layer_for(only(&["https://api.test"]));
    let (broken, healthy) = (tenant("broken", "s"), tenant("healthy", "s"));
    // Only token-3 is good at first, then token-4 in its place.
    let good = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(3));
    let now_good = good.clone();
    let api = Api::accepting(move |token| {
        token == format!("token-{}", now_good.load(std::sync::atomic::Ordering::SeqCst))
    });
    let code = |response: Result<HttpResponse, _>| response.map(|r| r.status().as_u16()).unwrap();
    assert_eq!(code(send(&layer, &api, with(&broken)).await), 401);
    assert_eq!(code(send(&layer, &api, with(&healthy)).await), 200);
    good.store(4, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(code(send(&layer, &api, with(&broken)).await), 401);
    assert_eq!(code(send(&layer, &api, with(&healthy)).await), 200);
    assert_eq!(api.tokens(), ["token-1", "token-2", "token-3", "token-2", "token-3", "token-4"]);
    assert_eq!(source.count(), 4);
}
