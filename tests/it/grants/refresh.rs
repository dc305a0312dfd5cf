use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::advance;
use tower::{BoxError, Layer, ServiceExt};
use tower_oauth2::grant::{Grant, RefreshToken, RotatedToken, TokenExchange, TokenType};
use tower_oauth2::store::{MemoryStore, StoredTokens, TokenStoreLayer};
use tower_oauth2::{
    AccessToken, ClientAuth, Credentials, TokenEndpoint, TokenErrorKind, TokenRequest, Tokens,
};

use super::server::Rotating;
use super::{answer, form, member, owned};
use crate::support::*;

const GIVEN: &str = "given-when-the-user-authorized";

fn in_memory() -> RefreshToken {
    RefreshToken::in_memory("alf", GIVEN)
}

async fn request_token(api: &Api, credentials: Credentials) -> AccessToken {
    let source = single_try(api.clone());
    source.oneshot(TokenRequest::new(credentials)).await.unwrap()
}

// RFC 6749 section 6
#[tokio::test]
async fn the_form_is_as_in_the_rfc() {
    let api = Api::new(|_| answer(200, r#"{"access_token":"t"}"#));
    let auth = ClientAuth::client_secret_post("client-id", SECRET);
    let credentials = Credentials::new(super::ENDPOINT, auth).unwrap();
    request_token(&api, credentials.scope("read").grant(in_memory())).await;
    assert_eq!(
        form(&api.requests()[0]).await,
        owned(&[
            ("client_id", "client-id"),
            ("client_secret", SECRET),
            ("grant_type", "refresh_token"),
            ("refresh_token", GIVEN),
            ("scope", "read"),
        ])
    );
}

#[tokio::test]
async fn other_credentials_pass_through_unchanged() {
    let api = Api::new(|_| answer(200, r#"{"access_token":"t","refresh_token":"r"}"#));
    let token = request_token(&api, credentials()).await;
    assert_eq!(form(&api.requests()[0]).await, owned(&[("grant_type", "client_credentials")]));
    // A custom source that exchanges a device code needs it.
    assert_eq!(token.refresh_token(), Some("r"));
}

// G4: by default, a token endpoint keeps refresh tokens by itself.
#[tokio::test]
async fn a_token_endpoint_alone_rotates_refresh_tokens() {
    let server = Rotating::new();
    let user = RefreshToken::in_memory("alf", "r-1");
    let source = TokenEndpoint::new(server.clone());
    for n in 1..=3 {
        let request = TokenRequest::new(credentials().grant(user.clone()));
        let token = source.clone().oneshot(request).await.unwrap();
        assert_eq!((token.secret(), token.refresh_token()), (&*format!("token-{n}"), None));
    }
    assert_eq!(server.used(), ["r-1", "r-2", "r-3"]);
}

// G3, W5: by default, a token endpoint retries.
#[tokio::test(start_paused = true)]
async fn a_retry_sends_the_refresh_token_that_was_set_last() {
    let requests = AtomicUsize::new(0);
    let api = Api::new(move |_| match requests.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => answer(503, ""),
        _ => answer(200, r#"{"access_token":"t","refresh_token":"rotated"}"#),
    });
    let user = in_memory();
    let request = || TokenRequest::new(credentials().grant(user.clone()));
    let source = TokenEndpoint::new(api.clone());
    let call = tokio::spawn(source.clone().oneshot(request()));
    settle().await;
    user.set("set-by-hand");
    call.await.unwrap().unwrap();
    source.oneshot(request()).await.unwrap();
    let mut sent = Vec::new();
    for request in api.requests() {
        sent.push(member(&form(&request).await, "refresh_token").unwrap().to_owned());
    }
    assert_eq!(sent, [GIVEN, "set-by-hand", "set-by-hand", "rotated"]);
}

// S1, G3
#[tokio::test(start_paused = true)]
async fn processes_share_the_token_of_a_refresh_token() {
    let (server, store) = (Rotating::new(), MemoryStore::new());
    let user = RefreshToken::in_memory("alf", "r-1");
    let process = || {
        let source = StoredTokens::new(TokenEndpoint::new(server.clone()), store.clone());
        Tokens::new(credentials().grant(user.clone()), source)
    };
    let (one, other) = (process(), process());
    for n in 1..=3 {
        let token = format!("token-{n}");
        assert_eq!([secret(&one).await, secret(&other).await], [&*token, &*token]);
        advance(secs(3600)).await;
    }
    assert_eq!(server.used(), ["r-1", "r-2", "r-3"]);
}

#[tokio::test]
async fn an_empty_refresh_token_is_not_sent() {
    let api = Api::always(200);
    let source = single_try(api.clone());
    let request = TokenRequest::new(credentials().grant(RefreshToken::in_memory("alf", "")));
    let error = source.oneshot(request).await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::ClientAuthentication);
    assert_eq!(api.count(), 0);
}

// G6
#[tokio::test]
async fn the_last_grant_that_is_set_is_the_only_one() {
    let exchange = TokenExchange::new("alices", TokenType::ACCESS_TOKEN);
    let refreshing = credentials().grant(exchange.clone()).grant(in_memory());
    assert_eq!(refreshing, credentials().grant(in_memory()));
    let exchanging = credentials().grant(in_memory()).grant(exchange);
    for (credentials, names) in [
        (refreshing, &["grant_type", "refresh_token"][..]),
        (exchanging, &["grant_type", "subject_token", "subject_token_type"]),
        (credentials().grant(in_memory()).grant(Grant::client_credentials()), &["grant_type"]),
    ] {
        let api = Api::new(|_| answer(200, r#"{"access_token":"t"}"#));
        request_token(&api, credentials).await;
        let form = form(&api.requests()[0]).await;
        let sent: Vec<_> = form.iter().map(|(name, _)| &**name).collect();
        assert_eq!(sent, names);
    }
}

// W1
#[tokio::test]
async fn a_custom_parameter_replaces_one_of_the_grant() {
    let api = Api::new(|_| answer(200, r#"{"access_token":"t"}"#));
    let other = "urn:ietf:params:oauth:grant-type:device_code";
    request_token(&api, credentials().grant(in_memory()).parameter("grant_type", other)).await;
    let form = form(&api.requests()[0]).await;
    assert_eq!(member(&form, "grant_type"), Some(other));
    assert_eq!(member(&form, "refresh_token"), Some(GIVEN));
}

// S2
#[tokio::test]
async fn users_share_no_slot_and_no_entry_of_a_store() {
    let of = |user: &str| credentials().grant(RefreshToken::in_memory(user, GIVEN));
    assert_ne!(of("alf"), credentials());
    assert_ne!(of("alf"), of("bea"));
    // The name identifies the grant, because the secret changes.
    assert_eq!(of("alf"), credentials().grant(RefreshToken::in_memory("alf", "another")));

    let store = TokenStoreLayer::new(MemoryStore::new());
    let source = ScriptedSource::tokens(hour);
    for (user, secret) in [("alf", "token-1"), ("bea", "token-2"), ("alf", "token-1")] {
        let source = store.layer(source.clone());
        let token = source.oneshot(TokenRequest::new(of(user))).await.unwrap();
        assert_eq!(token.secret(), secret);
    }
}

// G4, X3
#[tokio::test]
async fn no_refresh_token_reaches_a_store_or_a_cache() {
    let api = Api::new(|_| answer(200, r#"{"access_token":"t","refresh_token":"r-2"}"#));
    let store = MemoryStore::new();
    let inside = single_try(api.clone());
    let source = TokenStoreLayer::new(Written(store)).layer(inside);
    let tokens = Tokens::new(credentials().grant(in_memory()), source);
    assert_eq!(tokens.get().await.unwrap().refresh_token(), None);

    // The refresh token of a response to another grant stays in the token, but is not stored.
    let source = TokenStoreLayer::new(Written(MemoryStore::new())).layer(single_try(api));
    let token = source.oneshot(TokenRequest::new(credentials())).await.unwrap();
    assert_eq!(token.refresh_token(), Some("r-2"));
}

/// Records the values that are written.
struct Written(MemoryStore);

impl tower_oauth2::store::TokenStore for Written {
    async fn get(&self, key: &str) -> Result<Option<tower_oauth2::store::StoredValue>, BoxError> {
        self.0.get(key).await
    }

    async fn set(&self, key: &str, value: &[u8], ttl: Duration) -> Result<(), BoxError> {
        let text = std::str::from_utf8(value).unwrap();
        assert!(
            text.contains(r#""t""#) && !text.contains("r-2") && !text.contains("refresh_token")
        );
        self.0.set(key, value, ttl).await
    }
}

// W3
#[tokio::test]
async fn a_malformed_refresh_token_does_not_replace_one() {
    for member in [
        "",
        r#","refresh_token":"""#,
        r#","refresh_token":null"#,
        r#","refresh_token":7"#,
        r#","refresh_token":["r"]"#,
        r#","refresh_token":{"a":"r"}"#,
        r#","refresh_token":"\ud800""#,
    ] {
        let body = format!(r#"{{"access_token":"t"{member}}}"#);
        let api = Api::new(move |_| answer(200, body.clone()));
        let user = RefreshToken::new("alf", GIVEN, |_| async { Err("nothing to persist") });
        for n in 0..2 {
            request_token(&api, credentials().grant(user.clone())).await;
            let form = form(&api.requests()[n]).await;
            assert_eq!(super::member(&form, "refresh_token"), Some(GIVEN), "{member}");
        }
    }
}

// W3
#[tokio::test]
async fn a_refresh_token_may_be_any_text() {
    let odd = "1/a+b&grant_type=x\u{0}\r\n\u{1f512}";
    let long = "r".repeat(500_000);
    for text in [odd, &long] {
        let body = serde_json::json!({ "access_token": "t", "refresh_token": text }).to_string();
        let api = Api::new(move |_| answer(200, body.clone()));
        let user = in_memory();
        for _ in 0..2 {
            request_token(&api, credentials().grant(user.clone())).await;
        }
        let form = form(&api.requests()[1]).await;
        assert_eq!(form.len(), 2);
        assert_eq!(super::member(&form, "refresh_token"), Some(text));
    }
}

// X3
#[tokio::test]
async fn debug_shows_no_secret() {
    let server = Rotating::new();
    let fail = |rotated: RotatedToken| async move {
        let shown = format!("{rotated:?}");
        assert!(shown.contains("alf") && !shown.contains(rotated.secret()), "{shown}");
        Err("disk full")
    };
    let user = RefreshToken::new("alf", "r-1", fail);
    let credentials = credentials().grant(user.clone());
    let request = TokenRequest::new(credentials.clone());
    let source = single_try(server);
    let error = source.oneshot(request.clone()).await.unwrap_err();
    let token = AccessToken::new("t").unwrap().with_refresh_token("r-1");
    for shown in [
        format!("{user:?}"),
        format!("{credentials:?}"),
        format!("{request:?}"),
        format!("{error} {error:?}"),
        format!("{token:?}"),
    ] {
        assert!(!shown.contains("r-1") && !shown.contains("r-2"), "{shown}");
    }
    let parameters = credentials.parameters();
    assert_eq!(parameters, [("grant_type".into(), "refresh_token".into())]);
    assert_eq!(token.with_refresh_token("").refresh_token(), None);
}

#[test]
fn a_refresh_without_a_runtime_is_an_error() {
    let source = single_try(Api::always(200));
    let call = source.oneshot(TokenRequest::new(credentials().grant(in_memory())));
    let std::task::Poll::Ready(outcome) = tokio_test::task::spawn(call).poll() else {
        panic!("the call waits although no runtime can run its task");
    };
    assert_eq!(outcome.unwrap_err().kind(), TokenErrorKind::NoRuntime);
}
