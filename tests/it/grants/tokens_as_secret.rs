//! The tokens of one slot as the secret of another grant, or of client authentication.

use std::error::Error as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use tokio::time::{Instant, sleep};
use tower::{BoxError, service_fn};
use tower_oauth2::grant::{Grant, JwtBearer, TokenExchange, TokenType};
use tower_oauth2::source::{Backoff, TokenSource};
use tower_oauth2::{
    ClientAuth, Credentials, Origins, TokenCache, TokenEndpoint, TokenError, TokenErrorKind,
    TokenRequest, Tokens,
};

use super::{ENDPOINT, answer, form, member};
use crate::support::*;

const INNER: &str = "https://inner.test/token";

fn exchange(inner: &Tokens) -> Credentials {
    credentials().grant(TokenExchange::new(inner, TokenType::ACCESS_TOKEN))
}

/// Creates a token endpoint that issues a token for an hour.
fn issuing() -> Api {
    Api::new(|_| answer(200, r#"{"access_token":"outer","expires_in":3600}"#))
}

/// Returns this parameter of each token request.
async fn sent(api: &Api, name: &str) -> Vec<String> {
    let mut sent = Vec::new();
    for request in api.requests() {
        sent.push(member(&form(&request).await, name).unwrap().to_owned());
    }
    sent
}

/// Returns a source whose clones hold a value, and a weak reference to the value.
fn watched() -> (impl TokenSource, Weak<()>) {
    let alive = Arc::new(());
    let left = Arc::downgrade(&alive);
    let source = service_fn(move |_: TokenRequest| {
        let _held = alive.clone();
        std::future::ready(Ok::<_, BoxError>(hour(1)))
    });
    (source, left)
}

// G2, W9
#[tokio::test(start_paused = true)]
async fn a_token_is_fetched_when_another_grant_needs_it() {
    type Use = fn(&Tokens) -> Credentials;
    let uses: [(&str, Use); 4] = [
        ("assertion", |inner| credentials().grant(JwtBearer::assertion(inner))),
        ("subject_token", exchange),
        ("actor_token", |inner| {
            let exchange = TokenExchange::new("subject", TokenType::JWT);
            credentials().grant(exchange.actor(inner, TokenType::ACCESS_TOKEN))
        }),
        ("client_assertion", |inner| {
            Credentials::new(ENDPOINT, ClientAuth::client_assertion("client-id", inner)).unwrap()
        }),
    ];
    for (name, credentials_with) in uses {
        let (source, api) = (ScriptedSource::tokens(hour), issuing());
        let outer = Tokens::new(credentials_with(&tokens(&source)), single_try(api.clone()));
        settle().await;
        assert_eq!(source.count(), 0, "{name}");
        for _ in 0..2 {
            assert_eq!(secret(&outer).await, "outer");
        }
        assert_eq!(sent(&api, name).await, ["token-1"], "{name}");
        assert_eq!(source.count(), 1, "{name}");
    }
}

// G2, C5
#[tokio::test(start_paused = true)]
async fn an_expired_token_is_replaced_before_it_is_sent() {
    let (source, api) = (ScriptedSource::tokens(|n| lasting(n, secs(600))), issuing());
    let outer = Tokens::new(exchange(&tokens(&source)), single_try(api.clone()));
    for wait in [0, 60, 600] {
        sleep(secs(wait)).await;
        outer.get().await.unwrap().reject();
        secret(&outer).await;
    }
    let sent = sent(&api, "subject_token").await;
    assert_eq!(sent, ["token-1", "token-1", "token-1", "token-2"]);
    assert_eq!(source.count(), 2);
}

// G2
#[tokio::test(start_paused = true)]
async fn tokens_may_be_the_secret_of_tokens_that_are_a_secret() {
    let (source, middle, api) = (ScriptedSource::tokens(hour), issuing(), issuing());
    let middle_tokens = Tokens::new(exchange(&tokens(&source)), single_try(middle.clone()));
    let outer = Tokens::new(exchange(&middle_tokens), single_try(api.clone()));
    assert_eq!(secret(&outer).await, "outer");
    assert_eq!(sent(&middle, "subject_token").await, ["token-1"]);
    assert_eq!(sent(&api, "subject_token").await, ["outer"]);
}

// S2
#[tokio::test(start_paused = true)]
async fn equal_tokens_make_equal_credentials() {
    let source = ScriptedSource::tokens(hour);
    let (cache, other_cache) = (builder(&source).build(), builder(&source).build());
    let one = exchange(&cache.tokens(&tenant(1)));
    let narrowed = cache.tokens(&tenant(1)).only_for(Origins::only("https://api.test").unwrap());
    for same in [cache.tokens(&tenant(1)), other_cache.tokens(&tenant(1)), narrowed] {
        assert_eq!(exchange(&same), one);
    }
    let text = |text: &str| credentials().grant(TokenExchange::new(text, TokenType::ACCESS_TOKEN));
    let assertion = Grant::from(JwtBearer::assertion(cache.tokens(&tenant(1))));
    for other in [
        exchange(&cache.tokens(&tenant(2))),
        exchange(&tokens(&source)),
        text("token-1"),
        text("tokens"),
        credentials().grant(assertion),
    ] {
        assert_ne!(other, one);
    }

    let outer = builder(&source).build();
    for _ in 0..2 {
        get_for(&outer, &exchange(&cache.tokens(&tenant(1)))).await.unwrap();
    }
    assert_eq!((outer.len(), source.count()), (1, 1));
}

// G2
#[tokio::test(start_paused = true)]
async fn a_failure_of_the_secret_is_the_source_of_the_error() {
    let inner_api = Api::new(|_| answer(401, r#"{"error":"invalid_client"}"#));
    let auth = ClientAuth::client_secret_basic("client-id", SECRET);
    let inner = Credentials::new(INNER, auth).unwrap().label("login");
    let inner = Tokens::new(inner, TokenEndpoint::new(inner_api.clone()));
    let api = issuing();
    let outer = Tokens::new(exchange(&inner).label("shop"), TokenEndpoint::new(api.clone()));

    let start = Instant::now();
    let error = outer.get().await.unwrap_err();
    assert_eq!((error.kind(), error.label()), (TokenErrorKind::ClientAuthentication, Some("shop")));
    let text = error.to_string();
    assert!(text.starts_with("no token from https://auth.test for shop: "), "{text}");
    let source = error.source().unwrap().downcast_ref::<TokenError>().unwrap();
    assert_eq!((source.error_code(), source.label()), (Some("invalid_client"), Some("login")));
    let text = source.to_string();
    assert!(text.starts_with("no token from https://inner.test for login: "), "{text}");

    // The failure is permanent, so it is not retried.
    assert!(!error.is_transient());
    assert_eq!((start.elapsed(), inner_api.count(), api.count()), (secs(0), 1, 0));
}

// G2, W5
#[tokio::test(start_paused = true)]
async fn a_transient_failure_of_the_secret_is_retried() {
    let source = ScriptedSource::new(|n, _| async move {
        if n == 1 { Err(BoxError::from("down")) } else { Ok(hour(n)) }
    });
    let cache = builder(&source).transient_backoff(Backoff::new(ms(1), ms(1))).build();
    let inner = cache.tokens(&tenant(1));
    let api = issuing();
    let outer = Tokens::new(exchange(&inner), TokenEndpoint::new(api.clone()));
    assert_eq!(secret(&outer).await, "outer");
    assert_eq!(sent(&api, "subject_token").await, ["token-2"]);

    let failing = ScriptedSource::new(|_, _| async { Err(BoxError::from("down")) });
    let outer = Tokens::new(exchange(&tokens(&failing)), single_try(api.clone()));
    let error = outer.get().await.unwrap_err();
    assert!(error.is_transient());
    let source = TokenError::find_in(error.source().unwrap()).unwrap();
    assert_eq!(source.kind(), TokenErrorKind::Source);
    assert_eq!(api.count(), 1);
}

// C9
#[tokio::test(start_paused = true)]
async fn a_new_token_in_the_secret_ends_the_back_off() {
    let source = ScriptedSource::tokens(hour);
    let inner = tokens(&source);
    let is_accepted = Arc::new(AtomicBool::new(false));
    let flag = is_accepted.clone();
    let api = Api::new(move |_| match flag.load(Ordering::Relaxed) {
        true => answer(200, r#"{"access_token":"outer"}"#),
        false => answer(400, r#"{"error":"invalid_grant"}"#),
    });
    inner.warm().await.unwrap();
    let outer = Tokens::new(exchange(&inner), single_try(api.clone()));
    for _ in 0..3 {
        outer.get().await.unwrap_err();
    }
    assert_eq!(api.count(), 1);

    is_accepted.store(true, Ordering::Relaxed);
    inner.get().await.unwrap().reject();
    inner.warm().await.unwrap();
    assert_eq!(secret(&outer).await, "outer");
    assert_eq!(sent(&api, "subject_token").await, ["token-1", "token-2"]);
}

// C10
#[tokio::test(start_paused = true)]
async fn credentials_hold_the_tokens_that_are_their_secret() {
    let (source, left) = watched();
    let inner = Tokens::new(tenant(1), source);
    let api = issuing();
    let outer = Tokens::new(exchange(&inner), single_try(api.clone()));
    drop(inner);
    assert_eq!(secret(&outer).await, "outer");
    settle().await;
    assert!(left.upgrade().is_some());
    drop(outer);
    settle().await;
    assert!(left.upgrade().is_none(), "the inner cache is freed with the outer one");
}

// C10
#[tokio::test(start_paused = true)]
async fn tokens_of_the_same_cache_form_no_reference_cycle() {
    let (source, left) = watched();
    let cache = TokenCache::new(source);
    let outer = cache.tokens(&exchange(&cache.tokens(&tenant(1))));
    for tokens in cache.all() {
        tokens.get().await.unwrap();
    }
    assert_eq!(cache.len(), 2);
    drop(cache);
    settle().await;
    assert!(left.upgrade().is_some(), "the handle needs the source");
    drop(outer);
    settle().await;
    assert!(left.upgrade().is_none());
}

// C10
#[tokio::test(start_paused = true)]
async fn an_evicted_slot_no_longer_holds_its_secret() {
    let source = ScriptedSource::tokens(hour);
    let cache = builder(&source).capacity(1).build();
    let inner = cache.tokens(&tenant(1));
    get_for(&cache, &exchange(&inner)).await.unwrap();
    assert_eq!(cache.len(), 1, "the idle slot is evicted");
    get_for(&cache, &exchange(&inner)).await.unwrap();
    drop(inner);
    for n in 2..10 {
        get_for(&cache, &tenant(n)).await.unwrap();
        assert_eq!(cache.len(), 1);
    }
    let outer = exchange(&cache.tokens(&tenant(1)));
    get_for(&cache, &outer).await.unwrap();
    cache.remove(&outer);
    drop(outer);
    assert_eq!(cache.len(), 1);
}

// X3
#[tokio::test(start_paused = true)]
async fn debug_of_tokens_as_a_secret_shows_no_token() {
    let source = ScriptedSource::tokens(hour);
    let inner = tokens(&source);
    inner.warm().await.unwrap();
    let grant = TokenExchange::new(&inner, TokenType::ACCESS_TOKEN);
    let shown = format!("{grant:?} {:?}", exchange(&inner));
    for hidden in ["token-1", SECRET] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}
