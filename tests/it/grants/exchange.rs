use tower::{Layer, ServiceExt};
use tower_oauth2::grant::{TokenExchange, TokenType};
use tower_oauth2::store::{MemoryStore, TokenStoreLayer};
use tower_oauth2::{
    AccessToken, Credentials, OAuth2Layer, Origins, RequestExt, TokenCache, TokenErrorKind,
    TokenRequest,
};

use super::{answer, form, owned};
use crate::support::{
    Api, RawEndpoint, ScriptedSource, ask, credentials, credentials_at, get, get_for, hour,
    response, single_try,
};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

fn of(subject_token: &str) -> TokenExchange {
    TokenExchange::new(subject_token, TokenType::ACCESS_TOKEN)
}

fn on_behalf_of(subject_token: &str) -> Credentials {
    credentials().grant(of(subject_token))
}

async fn sent(credentials: Credentials) -> Vec<(String, String)> {
    let endpoint = Api::new(|_| answer(200, r#"{"access_token":"t"}"#));
    let source = single_try(endpoint.clone());
    source.oneshot(TokenRequest::new(credentials)).await.unwrap();
    form(&endpoint.requests()[0]).await
}

// RFC 8693 section 2.1
#[tokio::test]
async fn the_form_is_as_in_the_rfc() {
    let exchange = TokenExchange::new("the subject's+token", TokenType::JWT)
        .actor("the actor's", TokenType::ID_TOKEN)
        .requested_token_type(TokenType::ACCESS_TOKEN);
    let credentials =
        credentials().scope("read").audience("api").resource("https://api.test").grant(exchange);
    assert_eq!(
        sent(credentials.clone()).await,
        owned(&[
            ("actor_token", "the actor's"),
            ("actor_token_type", "urn:ietf:params:oauth:token-type:id_token"),
            ("audience", "api"),
            ("grant_type", GRANT_TYPE),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("resource", "https://api.test"),
            ("scope", "read"),
            ("subject_token", "the subject's+token"),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ])
    );
    // A second exchange replaces the first one completely.
    assert_eq!(
        sent(credentials.grant(of("another"))).await,
        owned(&[
            ("audience", "api"),
            ("grant_type", GRANT_TYPE),
            ("resource", "https://api.test"),
            ("scope", "read"),
            ("subject_token", "another"),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ])
    );
}

// G2
#[tokio::test]
async fn an_empty_token_or_type_is_not_sent() {
    for (exchange, expected) in [
        (of(""), "subject token is empty"),
        (
            TokenExchange::new("token", ""),
            "subject token needs a type, such as TokenType::ACCESS_TOKEN",
        ),
        (of("token").actor("", TokenType::ACCESS_TOKEN), "actor token is empty"),
        (
            of("token").actor("token", ""),
            "actor token needs a type, such as TokenType::ACCESS_TOKEN",
        ),
    ] {
        let endpoint = Api::always(200);
        let request = TokenRequest::new(credentials().grant(exchange));
        let error = single_try(endpoint.clone()).oneshot(request).await.unwrap_err();
        assert_eq!(error.kind(), TokenErrorKind::ClientAuthentication);
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), expected);
        assert!(!error.is_transient());
        assert_eq!(endpoint.count(), 0);
    }
}

// S2
#[test]
fn every_setting_of_the_grant_is_compared() {
    let with = |exchange: TokenExchange| credentials().grant(exchange);
    let all = [
        credentials(),
        on_behalf_of("a"),
        on_behalf_of("b"),
        with(TokenExchange::new("a", TokenType::JWT)),
        with(of("a").actor("b", TokenType::ACCESS_TOKEN)),
        with(of("b").actor("a", TokenType::ACCESS_TOKEN)),
        with(of("a").actor("b", TokenType::JWT)),
        with(of("a").requested_token_type(TokenType::JWT)),
        on_behalf_of("a").audience("api"),
    ];
    for (n, one) in all.iter().enumerate() {
        for (m, other) in all.iter().enumerate() {
            assert_eq!(one == other, n == m, "{n} and {m}");
        }
    }
}

// X3
#[test]
fn debug_shows_no_secret() {
    let swapped = TokenExchange::new(TokenType::ACCESS_TOKEN.as_str(), "the-secret");
    let exchange = of("the-secret").actor("the-secret", TokenType::JWT);
    for exchange in [swapped, exchange] {
        let shown = format!("{exchange:?} {:?}", credentials().grant(exchange.clone()));
        assert!(!shown.contains("the-secret"), "{shown}");
    }
}

// G2, C2, C10
#[tokio::test]
async fn each_caller_has_its_own_token_and_one_fetch() {
    let source = ScriptedSource::new(|_, request: TokenRequest| async move {
        let parameters = request.credentials().parameters();
        let subject = parameters.iter().find(|(name, _)| name == "subject_token").unwrap();
        Ok(AccessToken::new(format!("for-{}", subject.1))?)
    });
    let cache = TokenCache::builder(source.clone()).capacity(3).build();
    let api = Api::always(200);
    let layer = OAuth2Layer::per_request(Origins::only("https://api.test").unwrap());
    for _ in 0..2 {
        for caller in ["alf", "bea", "cat"] {
            let request = get("/").tokens(&cache.tokens(&on_behalf_of(caller)));
            layer.layer(api.clone()).oneshot(request).await.unwrap();
        }
    }
    assert_eq!(api.tokens(), ["for-alf", "for-bea", "for-cat", "for-alf", "for-bea", "for-cat"]);
    assert_eq!((source.count(), cache.len()), (3, 3));
    for n in 0..100 {
        get_for(&cache, &on_behalf_of(&format!("caller-{n}"))).await.unwrap();
    }
    assert_eq!(cache.len(), 3);
}

// G2, S2
#[tokio::test]
async fn callers_share_no_entry_of_a_store() {
    let store = TokenStoreLayer::new(MemoryStore::new());
    let source = ScriptedSource::tokens(hour);
    for (caller, count) in [("alf", 1), ("bea", 2), ("alf", 2)] {
        let request = TokenRequest::new(on_behalf_of(caller));
        let token = store.layer(source.clone()).oneshot(request).await.unwrap();
        assert_eq!(token.secret(), if caller == "alf" { "token-1" } else { "token-2" });
        assert_eq!(source.count(), count);
    }
}

// RFC 8693 section 2.2.1
#[tokio::test]
async fn issued_token_type_can_be_read() {
    let body = r#"{"access_token":"t","token_type":"bearer","expires_in":60,
        "issued_token_type":"urn:ietf:params:oauth:token-type:access_token"}"#;
    let endpoint = RawEndpoint::answering(response(200, &[], body)).await;
    let request = credentials_at(endpoint.url("/token")).grant(of("alf"));
    let token = ask(request).await.unwrap();
    assert_eq!(token.extra("issued_token_type").unwrap(), TokenType::ACCESS_TOKEN.as_str());
}

// G2, W3
#[tokio::test]
async fn a_token_that_is_not_an_access_token_is_an_error() {
    let bodies = [
        r#"{"access_token":"t","token_type":"N_A","issued_token_type":"urn:x"}"#,
        r#"{"access_token":"t","token_type":"n_a"}"#,
        r#"{"access_token":"t","token_type":7}"#,
    ];
    for body in bodies {
        let endpoint = RawEndpoint::answering(response(200, &[], body)).await;
        let request = credentials_at(endpoint.url("/token")).grant(of("alfs-own"));
        let error = ask(request).await.unwrap_err();
        assert_eq!(error.kind(), TokenErrorKind::UnsupportedTokenType, "{body}");
        assert!(!error.is_transient());
        assert!(!format!("{error} {error:?}").contains("alfs-own"));
    }
}
