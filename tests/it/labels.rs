//! The labels of credentials in errors.

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use tokio::time::advance;
use tower::{BoxError, ServiceExt};
use tower_oauth2::{AccessToken, TokenCache, TokenError, TokenErrorKind, TokenRequest};

use crate::support::*;

/// Creates a token endpoint that does not accept the client.
fn refusing() -> Api {
    Api::new(|_| {
        let body = Full::from(Bytes::from_static(br#"{"error":"invalid_client"}"#));
        Response::builder().status(401).body(body).unwrap()
    })
}

// O
#[tokio::test(start_paused = true)]
async fn an_error_names_the_label_of_its_credentials() {
    let cache = TokenCache::new(single_try(refusing()));
    let tokens = cache.tokens(&credentials().label("shop"));
    // A remembered failure names it too.
    for _ in 0..2 {
        let error = tokens.get().await.unwrap_err();
        assert_eq!(error.label(), Some("shop"));
        assert_eq!(
            error.to_string(),
            "no token from https://auth.test for shop: the endpoint answered with an error \
             (status 401, invalid_client); check client id, secret and authentication method"
        );
        assert!(format!("{error:?}").contains("shop"), "{error:?}");
    }
    let error = get_for(&cache, &tenant(2)).await.unwrap_err();
    assert_eq!(error.label(), None);
    assert!(error.to_string().starts_with("no token from https://auth.test: "), "{error}");
}

// O
#[tokio::test(start_paused = true)]
async fn errors_of_all_sources_name_the_label() {
    let down = ScriptedSource::new(|_, _| async { Err::<AccessToken, BoxError>("down".into()) });
    let hanging = ScriptedSource::new(|_, _| std::future::pending());
    for (source, kind) in [(down, TokenErrorKind::Source), (hanging, TokenErrorKind::Timeout)] {
        let cache = builder(&source).build();
        let tokens = cache.tokens(&credentials().label("shop"));
        let error = layer(&tokens).layer(Api::always(200)).oneshot(get("/")).await.unwrap_err();
        let error = TokenError::find_in(&*error).unwrap();
        assert_eq!((error.kind(), error.label()), (kind, Some("shop")));
        let text = error.to_string();
        assert!(text.starts_with("no token from https://auth.test for shop: "), "{text}");
    }
}

// O: the first label of equal credentials counts, because they share a slot.
#[tokio::test(start_paused = true)]
async fn equal_credentials_have_the_label_of_the_first() {
    let cache = TokenCache::new(single_try(refusing()));
    let first = cache.tokens(&credentials().label("first"));
    for label in ["first", "second"] {
        let error = get_for(&cache, &credentials().label(label)).await.unwrap_err();
        assert_eq!(error.label(), Some("first"));
        advance(error.retry_in().unwrap()).await;
    }
    drop(first);
}

// O: a label may come from a tenant's configuration.
#[tokio::test(start_paused = true)]
async fn a_label_is_shown_without_control_characters() {
    let cache = TokenCache::new(single_try(refusing()));
    let error = get_for(&cache, &credentials().label("a\n\u{1b}[31mb")).await.unwrap_err();
    let text = error.to_string();
    assert!(!text.contains(char::is_control), "{text}");
}

// O
#[tokio::test(start_paused = true)]
async fn an_error_of_a_bare_token_endpoint_has_no_label() {
    let request = TokenRequest::new(credentials().label("shop"));
    let error = single_try(refusing()).oneshot(request).await.unwrap_err();
    assert_eq!(error.label(), None);
    assert!(error.to_string().starts_with("no token from https://auth.test: "), "{error}");
}
