use std::time::Duration;

use tower::{BoxError, Layer, ServiceExt};
use tower_oauth2::grant::{RefreshToken, RotatedToken, TokenExchange};
use tower_oauth2::source::RefreshTokenLayer;
use tower_oauth2::store::{MemoryStore, TokenStoreLayer};
use tower_oauth2::{
    AccessToken, ClientAuth, Credentials, TokenCache, TokenEndpoint, TokenErrorKind, TokenRequest,
};

use super::server::Rotating;
use super::{answer, form, owned};
use crate::support::{Api, SECRET, Source, credentials, hour};

const GIVEN: &str = "given-when-the-user-authorized";

fn in_memory() -> RefreshToken {
    RefreshToken::in_memory("alf", GIVEN)
}

async fn asked(api: &Api, credentials: Credentials) -> AccessToken {
    let source = RefreshTokenLayer::new().layer(TokenEndpoint::new(api.clone()));
    source.oneshot(TokenRequest::new(credentials)).await.unwrap()
}

// RFC 6749 section 6
#[tokio::test]
async fn the_form_is_the_one_of_the_rfc() {
    let api = Api::new(|_| answer(200, r#"{"access_token":"t"}"#));
    let auth = ClientAuth::client_secret_post("client-id", SECRET);
    let credentials = Credentials::new(super::ENDPOINT, auth).unwrap();
    asked(&api, credentials.scope("read").refresh_token(in_memory())).await;
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
async fn other_credentials_go_through_as_they_are() {
    let api = Api::new(|_| answer(200, r#"{"access_token":"t","refresh_token":"r"}"#));
    let token = asked(&api, credentials()).await;
    assert_eq!(form(&api.requests()[0]).await, owned(&[("grant_type", "client_credentials")]));
    // As for a source of one's own that exchanges a device code.
    assert_eq!(token.refresh_token(), Some("r"));
}

// Else the client would get a token of its own in the place of the user's.
// G4
#[tokio::test]
async fn without_the_layer_nothing_is_sent() {
    let api = Api::always(200);
    let asked = TokenRequest::new(credentials().refresh_token(in_memory()));
    let error = TokenEndpoint::new(api.clone()).oneshot(asked).await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::ClientAuthentication);
    assert!(!error.is_transient());
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(why, "refresh token: needs a RefreshTokenLayer around the token endpoint");
    assert_eq!(api.count(), 0);
}

#[tokio::test]
async fn an_empty_refresh_token_is_not_sent() {
    let api = Api::always(200);
    let source = RefreshTokenLayer::new().layer(TokenEndpoint::new(api.clone()));
    let asked = TokenRequest::new(credentials().refresh_token(RefreshToken::in_memory("alf", "")));
    let error = source.oneshot(asked).await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::ClientAuthentication);
    assert_eq!(api.count(), 0);
}

// Whose token that would bring depends on the server.
// G6
#[tokio::test]
async fn a_refresh_token_and_another_grant_are_not_sent_together() {
    let api = Api::always(200);
    let exchange = TokenExchange::new("alf's own", TokenExchange::ACCESS_TOKEN).unwrap();
    let both = credentials().refresh_token(in_memory());
    for both in [
        both.clone().token_exchange(exchange.clone()),
        credentials().token_exchange(exchange).refresh_token(in_memory()),
        both.parameter("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
    ] {
        let source = RefreshTokenLayer::new().layer(TokenEndpoint::new(api.clone()));
        let error = source.oneshot(TokenRequest::new(both)).await.unwrap_err();
        assert_eq!(error.kind(), TokenErrorKind::ClientAuthentication);
        let why = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(why, "refresh token: can not go with another grant");
    }
    assert_eq!(api.count(), 0);
}

// S2
#[tokio::test]
async fn users_do_not_meet_in_a_cache_nor_in_a_store() {
    let of = |user: &str| credentials().refresh_token(RefreshToken::in_memory(user, GIVEN));
    assert_ne!(of("alf"), credentials());
    assert_ne!(of("alf"), of("bea"));
    // One grant, whatever it has been replaced with.
    assert_eq!(of("alf"), credentials().refresh_token(RefreshToken::in_memory("alf", "another")));

    let store = TokenStoreLayer::new(MemoryStore::new());
    let source = Source::of(hour);
    let refresh = RefreshTokenLayer::new();
    for (user, secret) in [("alf", "token-1"), ("bea", "token-2"), ("alf", "token-1")] {
        let source = store.layer(refresh.layer(source.clone()));
        let token = source.oneshot(TokenRequest::new(of(user))).await.unwrap();
        assert_eq!(token.secret(), secret);
    }
}

// G4, X3
#[tokio::test]
async fn a_store_and_a_cache_get_no_refresh_token() {
    let api = Api::new(|_| answer(200, r#"{"access_token":"t","refresh_token":"r-2"}"#));
    let store = MemoryStore::new();
    let inside = RefreshTokenLayer::new().layer(TokenEndpoint::new(api.clone()));
    let source = TokenStoreLayer::new(Written(store)).layer(inside);
    let tokens = TokenCache::new(credentials().refresh_token(in_memory()), source);
    assert_eq!(tokens.get().await.unwrap().refresh_token(), None);

    // Nor when nobody is there to take it out.
    let source = TokenStoreLayer::new(Written(MemoryStore::new())).layer(TokenEndpoint::new(api));
    let token = source.oneshot(TokenRequest::new(credentials())).await.unwrap();
    assert_eq!(token.refresh_token(), Some("r-2"));
}

/// Looks at what is written.
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
async fn what_is_no_refresh_token_leaves_the_old_one() {
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
            asked(&api, credentials().refresh_token(user.clone())).await;
            let form = form(&api.requests()[n]).await;
            assert_eq!(super::member(&form, "refresh_token"), Some(GIVEN), "{member}");
        }
    }
}

// W3: it is sent as it came, encoded.
#[tokio::test]
async fn any_text_is_a_refresh_token() {
    let odd = "1/a+b&grant_type=x\u{0}\r\n\u{1f512}";
    let long = "r".repeat(500_000);
    for text in [odd, &long] {
        let body = serde_json::json!({ "access_token": "t", "refresh_token": text }).to_string();
        let api = Api::new(move |_| answer(200, body.clone()));
        let user = in_memory();
        for _ in 0..2 {
            asked(&api, credentials().refresh_token(user.clone())).await;
        }
        let form = form(&api.requests()[1]).await;
        assert_eq!(form.len(), 2);
        assert_eq!(super::member(&form, "refresh_token"), Some(text));
    }
}

// X3
#[tokio::test]
async fn nothing_of_it_is_shown() {
    let server = Rotating::new();
    let fail = |rotated: RotatedToken| async move {
        let shown = format!("{rotated:?}");
        assert!(shown.contains("alf") && !shown.contains(rotated.secret()), "{shown}");
        Err("disk full")
    };
    let user = RefreshToken::new("alf", "r-1", fail);
    let credentials = credentials().refresh_token(user.clone());
    let layer = RefreshTokenLayer::new();
    let request = TokenRequest::new(credentials.clone());
    let source = layer.layer(TokenEndpoint::new(server));
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
fn without_a_runtime_it_is_an_error() {
    let source = RefreshTokenLayer::new().layer(Source::of(hour));
    let asked = source.oneshot(TokenRequest::new(credentials().refresh_token(in_memory())));
    let std::task::Poll::Ready(outcome) = tokio_test::task::spawn(asked).poll() else {
        panic!("there is nobody to wait for");
    };
    assert_eq!(outcome.unwrap_err().kind(), TokenErrorKind::NoRuntime);
}
