use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::json;
use tower::{BoxError, Layer, ServiceExt};
use tower_oauth2::replay::{NotReplayed, Replayed};
use tower_oauth2::source::Cause;
use tower_oauth2::store::{MemoryStore, TokenStore, TokenStoreLayer};
use tower_oauth2::{OAuth2Layer, Origins};

use super::*;

// S4, alf 25, 30
#[tokio::test(start_paused = true)]
async fn rejecting_an_older_token_returns_the_newer_stored_token() {
    let store = MemoryStore::new();
    let source = ScriptedSource::tokens(hour);
    let handles = fleet(3, &store, &source);
    let tokens: Vec<_> = [
        handles[0].get().await.unwrap(),
        handles[1].get().await.unwrap(),
        handles[2].get().await.unwrap(),
    ]
    .into();
    assert_eq!(source.count(), 1);

    tokens[0].reject();
    assert_eq!(secret(&handles[0]).await, "token-2");
    tokens[1].reject();
    assert_eq!((secret(&handles[1]).await.as_str(), source.count()), ("token-2", 2));

    // The API rejects the stored token too.
    let second = handles[1].get().await.unwrap();
    second.reject();
    assert_eq!((secret(&handles[1]).await.as_str(), source.count()), ("token-3", 3));
    assert_eq!(source.requests()[2].token().unwrap().secret(), "token-2");

    // A late rejection of the first token has no effect.
    tokens[2].reject();
    assert_eq!((secret(&handles[2]).await.as_str(), source.count()), ("token-3", 3));
    let fresh = process(store, &source);
    assert_eq!((secret(&fresh).await.as_str(), source.count()), ("token-3", 3));
}

// S4
#[tokio::test(start_paused = true)]
async fn the_token_that_a_request_replaces_is_never_returned() {
    let layer = TokenStoreLayer::new(MemoryStore::new());
    // The token endpoint always returns the same token.
    let source = ScriptedSource::tokens(|_| hour(1));
    let service = layer.layer(source.clone());
    let first = service.clone().oneshot(TokenRequest::new(credentials())).await.unwrap();
    for (n, cause) in [Cause::Rejected, Cause::Renewal, Cause::Cold].into_iter().enumerate() {
        let again = service.clone().oneshot(request_to_replace(&first, cause)).await.unwrap();
        assert_eq!((again.secret(), source.count()), ("token-1", n + 2));
    }
}

// S4
#[tokio::test(start_paused = true)]
async fn a_renewal_needs_a_longer_lifetime_and_a_rejection_does_not() {
    for (cause, found, count) in [(Cause::Renewal, "token-2", 2), (Cause::Rejected, "token-1", 1)] {
        let layer = TokenStoreLayer::new(MemoryStore::new());
        let source = ScriptedSource::tokens(hour);
        ask(&layer, &source).await.unwrap();
        let shown = hour(9);
        let got =
            layer.layer(source.clone()).oneshot(request_to_replace(&shown, cause)).await.unwrap();
        assert_eq!((got.secret(), source.count()), (found, count), "{cause:?}");
    }
}

// S4: a store may round a lifetime to whole seconds.
#[tokio::test(start_paused = true)]
async fn rounding_does_not_change_whether_a_stored_token_is_used() {
    let (hour_long, longer) = (3_600_000, 3_601_001);
    for (cause, lifetime, left, answers) in [
        (Cause::Rejected, hour_long, hour_long - 5_000, true),
        (Cause::Rejected, hour_long, hour_long - 5_001, false),
        (Cause::Renewal, longer - 1, longer - 1, false),
        (Cause::Renewal, longer, longer, true),
    ] {
        let store = MemoryStore::new();
        let record = json!({ "v": 1, "access_token": "theirs", "lifetime": lifetime });
        let key = key_of(&credentials()).await;
        store.set(&key, record.to_string().as_bytes(), ms(left)).await.unwrap();
        let source = ScriptedSource::tokens(hour);
        let service = TokenStoreLayer::new(store).layer(source.clone());
        let got = service.oneshot(request_to_replace(&hour(9), cause)).await.unwrap();
        assert_eq!(got.secret() == "theirs", answers, "{cause:?}, {left} ms left");
    }
}

// S4, alf 25
#[tokio::test(start_paused = true)]
async fn a_token_stored_by_another_process_is_kept() {
    let store = MemoryStore::new();
    let layer = TokenStoreLayer::new(store.clone());
    let key = key_of(&credentials()).await;
    let source = slow(secs(1), hour);
    let first = ask(&layer, &source).await.unwrap();

    let rejecting = tokio::spawn(
        layer.layer(source.clone()).oneshot(request_to_replace(&first, Cause::Rejected)),
    );
    settle().await;
    store.set(&key, br#"{"v":1,"access_token":"theirs"}"#, secs(60)).await.unwrap();
    assert_eq!(rejecting.await.unwrap().unwrap().secret(), "token-2");
    assert_eq!(ask(&layer, &source).await.unwrap().secret(), "theirs");
    assert_eq!(source.count(), 2);
}

// S4
#[tokio::test(start_paused = true)]
async fn a_token_with_other_claims_is_a_miss() {
    let layer = TokenStoreLayer::new(MemoryStore::new());
    let source = ScriptedSource::tokens(hour);
    let ask = |claims: Option<&str>| {
        let request = TokenRequest::new(credentials());
        let request = match claims {
            Some(claims) => request.with_claims(claims),
            None => request,
        };
        let service = layer.layer(source.clone());
        async move { service.oneshot(request).await.unwrap().secret().to_owned() }
    };
    assert_eq!(ask(None).await, "token-1");
    assert_eq!(ask(Some(r#"{"a":1}"#)).await, "token-2", "the first token has no claims");
    assert_eq!(ask(Some(r#"{"a":1}"#)).await, "token-2");
    assert_eq!(ask(Some(r#"{"a":2}"#)).await, "token-3");
    assert_eq!(ask(None).await, "token-3", "a request without claims accepts any token");
    assert_eq!(source.count(), 3);
}

// R1, R8, S4: a stored token may be revoked too.
#[tokio::test(start_paused = true)]
async fn a_fresh_token_is_sent_after_a_rejected_stored_token() {
    let store = MemoryStore::new();
    let source = ScriptedSource::tokens(hour);
    let (here, elsewhere) = (process(store.clone(), &source), process(store.clone(), &source));
    let first = elsewhere.get().await.unwrap();
    assert_eq!(secret(&here).await, "token-1");
    first.reject();
    assert_eq!(secret(&elsewhere).await, "token-2");

    let api = Api::accepting(|token| token == "token-3");
    let service =
        OAuth2Layer::new(here, Origins::only(["https://api.test"]).unwrap()).layer(api.clone());
    let response = service.clone().oneshot(get("/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.extensions().get(), Some(&Replayed::Yes));
    assert_eq!(api.tokens(), ["token-1", "token-2", "token-3"]);
    assert_eq!(source.count(), 3);
    assert_eq!(secret(&process(store, &source)).await, "token-3");

    // The breaker has not counted this: the next rejection is handled too.
    let response = service.oneshot(get("/")).await.unwrap();
    assert_eq!(response.extensions().get::<Replayed>(), None);
}

// R1, R8: a request is replayed at most twice, although the store has another token each time.
#[tokio::test(start_paused = true)]
async fn replays_with_stored_tokens_are_limited() {
    let store = MemoryStore::new();
    let source = ScriptedSource::tokens(hour);
    let key = key_of(&credentials()).await;
    let n = Arc::new(AtomicUsize::new(0));
    let refill = move || {
        let (store, key) = (store.clone(), key.clone());
        let n = n.fetch_add(1, Ordering::SeqCst);
        async move {
            let record = format!(r#"{{"v":1,"access_token":"stored-{n}"}}"#);
            store.set(&key, record.as_bytes(), secs(60)).await.unwrap();
            store
        }
    };
    let tokens = process(refill().await, &source);
    let sent = Arc::new(AtomicUsize::new(0));
    let api = {
        let sent = sent.clone();
        tower::service_fn(move |_: Request<Full<Bytes>>| {
            sent.fetch_add(1, Ordering::SeqCst);
            let refilled = refill();
            async move {
                refilled.await;
                let mut response = Response::new(());
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                Ok::<_, BoxError>(response)
            }
        })
    };
    let service = OAuth2Layer::new(tokens, Origins::only(["https://api.test"]).unwrap()).layer(api);
    let response = service.clone().oneshot(get("/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.extensions().get(), Some(&Replayed::Yes));
    assert_eq!(sent.load(Ordering::SeqCst), 3);
    let response = service.oneshot(get("/")).await.unwrap();
    assert_eq!(response.extensions().get(), Some(&Replayed::No(NotReplayed::BreakerOpen)));
    assert_eq!((sent.load(Ordering::SeqCst), source.count()), (4, 0));
}

// R8: each stored token costs one more token request until the breaker opens.
#[tokio::test(start_paused = true)]
async fn an_api_that_rejects_all_tokens_causes_few_requests() {
    let store = MemoryStore::new();
    let source = ScriptedSource::tokens(hour);
    let api = Api::always(401);
    let services: Vec<_> = fleet(4, &store, &source)
        .into_iter()
        .map(|tokens| {
            OAuth2Layer::new(tokens, Origins::only(["https://api.test"]).unwrap())
                .layer(api.clone())
        })
        .collect();
    let mut last = None;
    for _ in 0..50 {
        for service in &services {
            last = Some(service.clone().oneshot(get("/")).await.unwrap());
        }
        settle().await;
    }
    let last = last.unwrap();
    assert_eq!(last.extensions().get(), Some(&Replayed::No(NotReplayed::BreakerOpen)));
    // One token request at the start, and at most two for each process.
    assert!(source.count() <= 9, "{}", source.count());
}
