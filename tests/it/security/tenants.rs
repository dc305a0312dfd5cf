use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::AUTHORIZATION;
use http::{Response, StatusCode};
use http_body_util::Full;
use tower::BoxError;
use tower_oauth2::client_auth::{ClientAuthentication, Identity, TokenRequestParts};
use tower_oauth2::{
    ClientAuth, Credentials, OAuth2Layer, Origins, RequestExt, TokenCache, TokenEndpoint,
    TokenError,
};

use super::{HttpRequest, HttpResponse, only, request, send, token_response};
use crate::support::{Api, ScriptedSource, hour};

const ENDPOINT: &str = "https://auth.test/token";

fn tenant(id: &str, secret: &str) -> Credentials {
    Credentials::new(ENDPOINT, ClientAuth::client_secret_basic(id, secret)).unwrap()
}

/// Returns a request that names the tokens of these credentials.
fn with(cache: &TokenCache, credentials: &Credentials) -> HttpRequest {
    request("https://api.test/").tokens(&cache.tokens(credentials))
}

/// Returns a cache over `token-<n>`, and a layer for requests that name their tokens.
fn per_request(origins: Origins) -> (OAuth2Layer, TokenCache, ScriptedSource) {
    let source = ScriptedSource::tokens(hour);
    let cache = TokenCache::new(source.clone());
    (OAuth2Layer::per_request(origins), cache, source)
}

/// Creates a token endpoint that accepts only the client `acme` with the secret `right`.
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
    // Neither as the layer's own credentials, nor as those of a request.
    for default in [&right, &wrong, &tenant("service", "own")] {
        let cache = TokenCache::new(TokenEndpoint::new(auth_server.clone()));
        let layer = OAuth2Layer::new(cache.tokens(default), only(&["https://api.test"]));
        let api = Api::always(200);
        for round in 1..=3 {
            send(&layer, &api, with(&cache, &right)).await.unwrap();
            let error = send(&layer, &api, with(&cache, &wrong)).await.unwrap_err();
            let error = TokenError::find_in(&*error).unwrap();
            assert_eq!(error.error_code(), Some("invalid_client"));
            assert_eq!(api.tokens(), vec!["acmes-token"; round]);
        }
        // The failure belongs to the wrong secret only.
        assert!(cache.tokens(&wrong).get().await.is_err());
        assert_eq!(cache.tokens(&right).get().await.unwrap().secret(), "acmes-token");
    }
}

// S2
#[tokio::test]
async fn a_rejection_costs_other_tenants_no_fetch() {
    let (layer, cache, source) = per_request(only(&["https://api.test"]));
    let api = Api::accepting(|token| token != "token-1");
    let (one, other) = (tenant("one", "s"), tenant("other", "s"));
    // The other tenant gets token-1, which the API rejects.
    for (credentials, expected) in [
        (&other, vec!["token-1", "token-2"]),
        (&one, vec!["token-3"]),
        (&other, vec!["token-2"]),
        (&one, vec!["token-3"]),
    ] {
        let before = api.count();
        send(&layer, &api, with(&cache, credentials)).await.unwrap();
        assert_eq!(api.tokens()[before..], expected);
    }
    let requested: Vec<_> = source.requests().iter().map(|r| r.credentials().clone()).collect();
    assert_eq!(requested, [other.clone(), other, one]);
}

/// Returns credentials each of which differs from the others.
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
        by(ClientAuth::client_secret_basic("id", "secre")),
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

/// A custom method with this name and identity.
struct Custom(&'static str, &'static str);

impl ClientAuthentication for Custom {
    fn method(&self) -> &str {
        self.0
    }

    fn client_id(&self) -> Option<&str> {
        Some("id")
    }

    fn identify(&self, identity: &mut Identity) {
        identity.part(self.1);
    }

    async fn authenticate(&self, _: &mut TokenRequestParts) -> Result<(), BoxError> {
        Ok(())
    }
}

// S2, alf 23, 24
#[tokio::test]
async fn different_credentials_have_different_tokens() {
    let all = all_different();
    let (layer, cache, source) = per_request(Origins::any());
    let api = Api::always(200);
    for _ in 0..2 {
        for credentials in &all {
            send(&layer, &api, with(&cache, credentials)).await.unwrap();
        }
    }
    let expected: Vec<_> = (1..=all.len()).map(|n| format!("token-{n}")).collect();
    assert_eq!(api.tokens(), [&expected[..], &expected[..]].concat());
    let requested: Vec<_> = source.requests().iter().map(|r| r.credentials().clone()).collect();
    assert_eq!(requested, all);
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
    // Equal credentials find the same entry.
    for (n, again) in all_different().iter().enumerate() {
        assert_eq!(numbers[again], n);
    }
}

// S2
#[tokio::test]
async fn equal_credentials_share_a_token() {
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
        // This setting is no part of the token request.
        base.clone().default_expires_in(Duration::from_secs(60)),
    ];
    let (layer, cache, source) = per_request(Origins::any());
    let api = Api::always(200);
    let hasher = RandomState::new();
    for credentials in &same {
        assert_eq!(*credentials, base);
        assert_eq!(hasher.hash_one(credentials), hasher.hash_one(&base));
        send(&layer, &api, with(&cache, credentials)).await.unwrap();
    }
    assert_eq!(api.tokens(), ["token-1"; 4]);
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
    let [first, second] = ["first", "second"].map(|name| tenant("id", "secret").audience(name));
    let cache = TokenCache::new(TokenEndpoint::new(auth_server.clone()));
    let layer = OAuth2Layer::new(cache.tokens(&first), only(&["https://api.test"]));
    let api = Api::always(200);
    for _ in 0..2 {
        send(&layer, &api, request("https://api.test/")).await.unwrap();
        send(&layer, &api, with(&cache, &second)).await.unwrap();
    }
    assert_eq!(api.tokens(), ["for-first", "for-second", "for-first", "for-second"]);
    assert_eq!(auth_server.count(), 2);
}

// R8: each tenant has a breaker of its own.
#[tokio::test(start_paused = true)]
async fn a_tenant_with_refused_tokens_opens_no_other_tenants_breaker() {
    let (layer, cache, source) = per_request(only(&["https://api.test"]));
    let (broken, healthy) = (tenant("broken", "s"), tenant("healthy", "s"));
    // The API accepts only token-3 at first, and then only token-4.
    let good = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(3));
    let now_good = good.clone();
    let api = Api::accepting(move |token| {
        token == format!("token-{}", now_good.load(std::sync::atomic::Ordering::SeqCst))
    });
    let code = |response: Result<HttpResponse, _>| response.map(|r| r.status().as_u16()).unwrap();
    assert_eq!(code(send(&layer, &api, with(&cache, &broken)).await), 401);
    assert_eq!(code(send(&layer, &api, with(&cache, &healthy)).await), 200);
    good.store(4, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(code(send(&layer, &api, with(&cache, &broken)).await), 401);
    assert_eq!(code(send(&layer, &api, with(&cache, &healthy)).await), 200);
    assert_eq!(api.tokens(), ["token-1", "token-2", "token-3", "token-2", "token-3", "token-4"]);
    assert_eq!(source.count(), 4);
}
