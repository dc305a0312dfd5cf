use tower::{Layer, ServiceExt};
use tower_oauth2::grant::TokenExchange;
use tower_oauth2::store::{MemoryStore, TokenStoreLayer};
use tower_oauth2::{
    AccessToken, Credentials, OAuth2Layer, Origins, TokenCache, TokenEndpoint, TokenErrorKind,
    TokenRequest,
};

use super::{answer, form, owned};
use crate::support::{
    Api, RawEndpoint, Source, ask, credentials, credentials_at, get, hour, response,
};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

fn of(subject_token: &str) -> TokenExchange {
    TokenExchange::new(subject_token, TokenExchange::ACCESS_TOKEN).unwrap()
}

fn on_behalf_of(subject_token: &str) -> Credentials {
    credentials().token_exchange(of(subject_token))
}

async fn sent(credentials: Credentials) -> Vec<(String, String)> {
    let endpoint = Api::new(|_| answer(200, r#"{"access_token":"t"}"#));
    let source = TokenEndpoint::new(endpoint.clone());
    source.oneshot(TokenRequest::new(credentials)).await.unwrap();
    form(&endpoint.requests()[0]).await
}

// RFC 8693 section 2.1
#[tokio::test]
async fn the_form_is_the_one_of_the_rfc() {
    let exchange = TokenExchange::new("the subject's+token", TokenExchange::JWT)
        .unwrap()
        .actor_token("the actor's", TokenExchange::ID_TOKEN)
        .unwrap()
        .requested_token_type(TokenExchange::ACCESS_TOKEN);
    let credentials = credentials()
        .scope("read")
        .audience("api")
        .resource("https://api.test")
        .token_exchange(exchange);
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
    // Nothing of an earlier one is left.
    assert_eq!(
        sent(credentials.token_exchange(of("another"))).await,
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
#[test]
fn there_is_no_exchange_for_nobody() {
    assert!(TokenExchange::new("", TokenExchange::ACCESS_TOKEN).is_err());
    assert!(TokenExchange::new("token", "").is_err());
    assert!(of("token").actor_token("", TokenExchange::ACCESS_TOKEN).is_err());
    assert!(of("token").actor_token("token", "").is_err());
}

// S2
#[test]
fn whatever_makes_the_token_what_it_is_tells_credentials_apart() {
    let with = |exchange: TokenExchange| credentials().token_exchange(exchange);
    let all = [
        credentials(),
        on_behalf_of("a"),
        on_behalf_of("b"),
        with(TokenExchange::new("a", TokenExchange::JWT).unwrap()),
        with(of("a").actor_token("b", TokenExchange::ACCESS_TOKEN).unwrap()),
        with(of("b").actor_token("a", TokenExchange::ACCESS_TOKEN).unwrap()),
        with(of("a").actor_token("b", TokenExchange::JWT).unwrap()),
        with(of("a").requested_token_type(TokenExchange::JWT)),
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
fn nothing_of_it_is_shown() {
    let swapped = TokenExchange::new(TokenExchange::ACCESS_TOKEN, "the-secret").unwrap();
    let exchange = of("the-secret").actor_token("the-secret", TokenExchange::JWT).unwrap();
    for exchange in [swapped, exchange] {
        let shown = format!("{exchange:?} {:?}", credentials().token_exchange(exchange.clone()));
        assert!(!shown.contains("the-secret"), "{shown}");
    }
}

// G2, C2, C10
#[tokio::test]
async fn each_caller_has_its_own_token_and_each_is_asked_for_once() {
    let source = Source::new(|_, request: TokenRequest| async move {
        let parameters = request.credentials().parameters();
        let subject = parameters.iter().find(|(name, _)| name == "subject_token").unwrap();
        Ok(AccessToken::new(format!("for-{}", subject.1))?)
    });
    let tokens = TokenCache::builder(credentials(), source.clone()).capacity(3).build();
    let api = Api::always(200);
    let layer = OAuth2Layer::new(tokens.clone(), Origins::only(["https://api.test"]).unwrap());
    for _ in 0..2 {
        for caller in ["alf", "bea", "cat"] {
            let mut request = get("/");
            request.extensions_mut().insert(on_behalf_of(caller));
            layer.layer(api.clone()).oneshot(request).await.unwrap();
        }
    }
    assert_eq!(api.tokens(), ["for-alf", "for-bea", "for-cat", "for-alf", "for-bea", "for-cat"]);
    assert_eq!((source.count(), tokens.len()), (3, 3));
    for n in 0..100 {
        tokens.get_for(&on_behalf_of(&format!("passer-by-{n}"))).await.unwrap();
    }
    assert_eq!(tokens.len(), 3);
}

// G2, S2
#[tokio::test]
async fn callers_do_not_meet_in_a_store() {
    let store = TokenStoreLayer::new(MemoryStore::new());
    let source = Source::of(hour);
    for (caller, count) in [("alf", 1), ("bea", 2), ("alf", 2)] {
        let asked = TokenRequest::new(on_behalf_of(caller));
        let token = store.layer(source.clone()).oneshot(asked).await.unwrap();
        assert_eq!(token.secret(), if caller == "alf" { "token-1" } else { "token-2" });
        assert_eq!(source.count(), count);
    }
}

// RFC 8693 section 2.2.1
#[tokio::test]
async fn what_was_issued_can_be_read() {
    let body = r#"{"access_token":"t","token_type":"bearer","expires_in":60,
        "issued_token_type":"urn:ietf:params:oauth:token-type:access_token"}"#;
    let endpoint = RawEndpoint::answering(response(200, &[], body)).await;
    let asked = credentials_at(endpoint.url("/token")).token_exchange(of("alf"));
    let token = ask(asked).await.unwrap();
    assert_eq!(token.extra("issued_token_type").unwrap(), TokenExchange::ACCESS_TOKEN);
}

// G2, W3
#[tokio::test]
async fn what_is_no_access_token_is_an_error() {
    let bodies = [
        r#"{"access_token":"t","token_type":"N_A","issued_token_type":"urn:x"}"#,
        r#"{"access_token":"t","token_type":"n_a"}"#,
        r#"{"access_token":"t","token_type":7}"#,
    ];
    for body in bodies {
        let endpoint = RawEndpoint::answering(response(200, &[], body)).await;
        let asked = credentials_at(endpoint.url("/token")).token_exchange(of("alfs-own"));
        let error = ask(asked).await.unwrap_err();
        assert_eq!(error.kind(), TokenErrorKind::UnsupportedTokenType, "{body}");
        assert!(!error.is_transient());
        assert!(!format!("{error} {error:?}").contains("alfs-own"));
    }
}
