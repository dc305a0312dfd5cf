//! The labels of credentials in events.

use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_oauth2::store::TokenStoreLayer;
use tower_oauth2::{Credentials, RequestExt, Tokens};

use super::layer;
use crate::store::double::{Act, Double, Op};
use crate::support::*;

fn labeled() -> Credentials {
    credentials().label("shop")
}

/// Asserts that each line with this text names the label.
#[track_caller]
fn names_the_label(trace: &Trace, text: &str) {
    let lines: Vec<_> = trace.lines().into_iter().filter(|line| line.contains(text)).collect();
    assert!(!lines.is_empty(), "{text}");
    assert!(lines.iter().all(|line| line.contains(" label=shop")), "{lines:?}");
}

// O
#[tokio::test(start_paused = true)]
async fn a_fetch_and_its_failure_name_the_label() {
    let (trace, _guard) = Trace::start();
    let source = ScriptedSource::new(|n, _| async move {
        match n {
            2 | 3 => Err("down".into()),
            4 => panic!("on purpose"),
            _ => Ok(hour(n)),
        }
    });
    let tokens = Tokens::new(labeled(), source);
    tokens.get().await.unwrap();
    tokio::time::advance(secs(3400)).await;
    tokens.get().await.unwrap();
    settle().await;
    tokens.get().await.unwrap().reject();
    tokens.get().await.unwrap_err();
    tokio::time::advance(secs(20)).await;
    tokens.get().await.unwrap();
    for text in [
        "token_request",
        "token is requested",
        "token arrived",
        "token renewal failed",
        "token request failed",
        "token was rejected",
        "token request panicked",
    ] {
        names_the_label(&trace, text);
    }
}

// O, R8
#[tokio::test(start_paused = true)]
async fn an_open_breaker_names_the_label() {
    let (trace, _guard) = Trace::start();
    let tokens = Tokens::new(labeled(), ScriptedSource::tokens(hour));
    layer(&tokens).layer(Api::always(401)).oneshot(get("/")).await.unwrap();
    names_the_label(&trace, "an API rejects fresh tokens");
}

// O, S6
#[tokio::test(start_paused = true)]
async fn failures_of_a_store_name_the_label() {
    for (op, act, text) in [
        (Op::Get, Act::Fail, "the token store failed"),
        (Op::Lock, Act::Fail, "the token store failed"),
        (Op::Replace, Act::NotAccept, "the token store does not accept a value"),
    ] {
        let (trace, _guard) = Trace::start();
        let store = TokenStoreLayer::new(Double::but(op, act));
        Tokens::new(labeled(), store.layer(ScriptedSource::tokens(hour))).get().await.unwrap();
        names_the_label(&trace, text);
    }
}

// O, S6
#[tokio::test(start_paused = true)]
async fn malformed_data_in_a_store_names_the_label() {
    let (trace, _guard) = Trace::start();
    let (store, source) = (Double::default(), ScriptedSource::tokens(|n| lasting(n, secs(60))));
    let stored = TokenStoreLayer::new(store.clone()).layer(source);
    Tokens::new(credentials(), stored.clone()).get().await.unwrap();
    let key = store.log().into_iter().find(|entry| entry.op == Op::Replace).unwrap().key;
    tower_oauth2::store::TokenStore::set(&store.inner, &key, b"{", secs(60)).await.unwrap();
    Tokens::new(labeled(), stored).get().await.unwrap();
    names_the_label(&trace, "the stored value is not a token record");
}

// O: a name without a label is no label, because a client id is in no event.
#[tokio::test(start_paused = true)]
async fn credentials_without_a_label_name_none() {
    let (trace, _guard) = Trace::start();
    for credentials in [credentials(), labeled().label("")] {
        let tokens = Tokens::new(credentials, single_try(Api::always(401)));
        let error = tokens.get().await.unwrap_err();
        assert_eq!(error.label(), None);
    }
    let lines = trace.lines();
    assert!(!lines.is_empty() && lines.iter().all(|line| !line.contains("label=")), "{lines:?}");
}

// O
#[test]
fn debug_texts_name_the_label_and_escape_it() {
    let credentials = credentials().label("sh\nop");
    let request = tower_oauth2::TokenRequest::new(credentials.clone());
    let tokens = Tokens::new(credentials.clone(), ScriptedSource::tokens(hour));
    for text in [format!("{credentials:?}"), format!("{request:?}"), format!("{tokens:?}")] {
        assert!(text.contains(r#"label: "sh\nop""#), "{text}");
    }
}

// O: an error of the layer itself names the label too.
#[tokio::test(start_paused = true)]
async fn an_insecure_request_names_the_label() {
    let origins = tower_oauth2::Origins::any();
    let layer = tower_oauth2::OAuth2Layer::per_request(origins);
    let request = http::Request::get("http://api.test/").body(Full::default()).unwrap();
    let request = request.tokens(&Tokens::new(labeled(), ScriptedSource::tokens(hour)));
    let error = layer.layer(Api::always(200)).oneshot(request).await.unwrap_err();
    assert!(error.to_string().starts_with("no token for http://api.test for shop: "), "{error}");
}
