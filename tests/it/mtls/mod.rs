//! Tests client authentication by certificate (RFC 8705), over real TLS.

mod server;

use std::error::Error as _;

use http::header::AUTHORIZATION;
use tower::ServiceExt;
use tower_oauth2::client_auth::ClientAuthentication;
use tower_oauth2::{
    ClientAuth, Credentials, OAuth2Layer, Origins, TokenCache, TokenError, TokenErrorKind,
    TokenRequest, Tokens,
};

use self::server::{Endpoint, client};
use crate::support::certificates::Ca;
use crate::support::*;

fn methods(certificate: impl AsRef<[u8]>) -> [ClientAuth; 2] {
    let certificate = certificate.as_ref();
    [
        ClientAuth::tls_client_auth("client-id", certificate),
        ClientAuth::self_signed_tls_client_auth("client-id", certificate),
    ]
}

// X1
#[tokio::test]
async fn without_a_certificate_the_api_is_not_called() {
    let (ca, other_ca) = (Ca::new(), Ca::new());
    let endpoint = Endpoint::start(&ca).await;
    let ours = ca.certify();
    for (name, shown) in [("none", None), ("of an unknown authority", Some(other_ca.certify()))] {
        for auth in methods(ours.certificate()) {
            let credentials = Credentials::new(endpoint.url(), auth).unwrap();
            let source = single_try(client(&ca, shown.as_ref()));
            let tokens = Tokens::new(credentials, source);
            let layer = OAuth2Layer::new(tokens, Origins::only(["https://api.test"]).unwrap());
            let api = Api::always(200);
            let error = layer.layer(api.clone()).oneshot(get("/")).await.expect_err(name);
            let error = error.downcast_ref::<TokenError>().expect(name);
            assert_eq!(error.kind(), TokenErrorKind::Transport, "{name}");
            assert!(error.is_transient() && error.source().is_some(), "{name}");
            assert_eq!((api.count(), endpoint.seen().len()), (0, 0), "{name}");
        }
    }
}

// W5
#[tokio::test]
async fn an_error_shows_why_a_certificate_is_invalid() {
    let endpoint = Endpoint::start(&Ca::new()).await;
    let credentials = Credentials::new(endpoint.url(), ClientAuth::none("id")).unwrap();
    let source = single_try(client(&Ca::new(), None));
    let error = source.oneshot(TokenRequest::new(credentials)).await.unwrap_err();
    for text in [error.to_string(), format!("{error:?}")] {
        // The two authorities have the same name, so the signature is what differs.
        assert!(text.contains("invalid peer certificate: BadSignature); check"), "{text}");
    }
}

// W5
#[tokio::test]
async fn an_error_shows_that_a_host_name_is_unknown() {
    // RFC 6761 section 6.4 reserves the name.
    let credentials = credentials_at("https://auth.invalid/token");
    let source = single_try(client(&Ca::new(), None));
    let error = source.oneshot(TokenRequest::new(credentials)).await.unwrap_err();
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(text.contains("dns error: failed to lookup address information"), "{text}");
    }
}

// RFC 8705 section 2
#[tokio::test]
async fn the_server_gets_certificate_and_client_id_and_no_secret() {
    let ca = Ca::new();
    let endpoint = Endpoint::start(&ca).await;
    let ours = ca.certify();
    for auth in methods(ours.certificate()) {
        let credentials = Credentials::new(endpoint.url(), auth).unwrap().scope("read");
        let source = single_try(client(&ca, Some(&ours)));
        let token = source.oneshot(TokenRequest::new(credentials)).await.unwrap();
        assert_eq!(token.secret(), "token-1");
    }
    for (request, certificate) in endpoint.seen() {
        assert_eq!(certificate, ours.certificate());
        assert!(!request.headers().contains_key(AUTHORIZATION));
        assert_eq!(*request.body(), "grant_type=client_credentials&scope=read&client_id=client-id");
    }
    assert_eq!(endpoint.seen().len(), 2);
}

// S2: the certificate is part of the identity, because tokens may be bound to it.
#[tokio::test]
async fn two_certificates_are_two_credentials_with_a_token_each() {
    for n in 0..2 {
        let of = |certificate: &str| credentials_with(methods(certificate)[n].clone());
        assert_eq!(of("one"), of("one"));
        assert_ne!(of("one"), of("other"));
        assert_ne!(of("one"), credentials_with(ClientAuth::none("client-id")));
    }
    let [pki, self_signed] = methods("one").map(credentials_with);
    assert_ne!(pki, self_signed);

    let source = ScriptedSource::tokens(hour);
    let cache = TokenCache::new(source.clone());
    let [next, _] = methods("other").map(credentials_with);
    let token = cache.tokens(&pki).get().await.unwrap();
    assert_ne!(token.secret(), cache.tokens(&next).get().await.unwrap().secret());
    assert_eq!(token.secret(), cache.tokens(&pki).get().await.unwrap().secret());
    assert_eq!(source.count(), 2);
}

// W12
#[test]
fn an_empty_certificate_is_an_error() {
    for auth in methods("") {
        let error = Credentials::new("https://auth.test/token", auth).unwrap_err();
        assert_eq!(error.to_string(), "client certificate is empty");
    }
}

#[test]
fn the_methods_have_their_registered_names() {
    let [pki, self_signed] = methods("one");
    assert_eq!(pki.method(), "tls_client_auth");
    assert_eq!(self_signed.method(), "self_signed_tls_client_auth");
    assert_eq!(pki.client_id(), Some("client-id"));
    assert_eq!(format!("{pki:?}"), "ClientAuth(tls_client_auth)");
    let auth = ClientAuth::tls_client_auth("", "one");
    assert!(Credentials::new("https://auth.test/token", auth).is_err());
}
