use std::error::Error as _;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use tower::ServiceExt;
use tower_oauth2::{
    Algorithm, ClientAuth, KeyFile, SigningKey, TokenCache, TokenEndpoint, TokenError,
    TokenErrorKind, TokenRequest,
};

use super::{Jwt, answer, credentials, vectors};
use crate::support::{Api, Folder};

const TOKEN: &str = r#"{"access_token":"t","expires_in":3600}"#;

/// Asks for a token, and returns the assertion.
async fn ask(key: KeyFile) -> Result<Jwt, TokenError> {
    let endpoint = Api::new(|_| answer(200, None, TOKEN));
    let request = TokenRequest::new(credentials(ClientAuth::private_key_jwt("client-id", key)));
    TokenEndpoint::new(endpoint.clone()).oneshot(request).await?;
    Ok(Jwt::of(&endpoint.requests()[0]).await)
}

#[tokio::test]
async fn a_key_that_is_replaced_signs_the_next_assertion() {
    let folder = Folder::new();
    let path = folder.path("key.pem");
    for _ in 0..2 {
        let pair = KeyPair::generate().unwrap();
        std::fs::write(&path, pair.serialize_pem()).unwrap();
        let jwt = ask(KeyFile::new(&path)).await.unwrap();
        let key = SigningKey::from_pem(pair.serialize_pem()).unwrap();
        assert!(jwt.is_signed_by(&key.public_jwk()));
        assert_eq!(jwt.header.get("kid"), None);

        let jwt = ask(KeyFile::new(&path).kid_from_thumbprint()).await.unwrap();
        assert_eq!(jwt.header["kid"], key.thumbprint());
        let jwt = ask(KeyFile::new(&path).kid("k1")).await.unwrap();
        assert_eq!(jwt.header["kid"], "k1");
    }
}

#[tokio::test]
async fn a_jwk_in_a_file_has_its_own_name() {
    let folder = Folder::new();
    let path = folder.path("key.json");
    std::fs::write(&path, format!("\n{}\n", vectors::RSA_WITH_KID)).unwrap();
    let jwt = ask(KeyFile::new(&path)).await.unwrap();
    assert_eq!((&jwt.header["kid"], &jwt.header["alg"]), (&"2011-04-29".into(), &"RS256".into()));
    let jwt = ask(KeyFile::new(&path).algorithm(Algorithm::PS256).kid("other")).await.unwrap();
    assert_eq!((&jwt.header["kid"], &jwt.header["alg"]), (&"other".into(), &"PS256".into()));
}

#[tokio::test]
async fn a_file_that_is_of_no_use_is_an_error_that_may_pass() {
    let folder = Folder::new();
    let path = folder.path("key.pem");
    let pair = KeyPair::generate().unwrap();
    let whole = pair.serialize_pem();
    let certificate = CertificateParams::default().self_signed(&pair).unwrap().pem();
    let half = &whole[..whole.len() / 2];
    for (content, why) in [
        (None, "can not be read"),
        (Some(""), "is empty"),
        (Some("\n\n"), "is empty"),
        (Some("   \n"), "signing key: is empty"),
        (Some(half), "signing key: breaks off before its end"),
        (Some(&*certificate), "signing key: is a certificate"),
        (Some(r#"{"kty":"#), "signing key: is not a JSON object"),
    ] {
        match content {
            Some(content) => std::fs::write(&path, content).unwrap(),
            None => assert!(!path.exists()),
        }
        let error = ask(KeyFile::new(&path)).await.map(drop).unwrap_err();
        assert_eq!(error.kind(), TokenErrorKind::ClientAuthentication);
        assert!(error.is_transient(), "{why}");
        assert_eq!(error.source().unwrap().to_string(), format!("{path:?}: {why}"));
        for text in [format!("{error} {error:?}"), format!("{:?}", error.source())] {
            assert!(!text.contains(whole.lines().nth(1).unwrap()), "{text}");
        }
    }
    std::fs::write(&path, whole).unwrap();
    ask(KeyFile::new(&path)).await.unwrap();
}

#[tokio::test]
async fn a_key_that_can_not_do_the_algorithm_is_an_error_that_may_pass() {
    let folder = Folder::new();
    let path = folder.path("key.pem");
    std::fs::write(&path, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let error = ask(KeyFile::new(&path).algorithm(Algorithm::PS256)).await.map(drop).unwrap_err();
    assert!(error.is_transient());
}

// C9
#[tokio::test(start_paused = true)]
async fn a_refused_key_that_is_replaced_is_used_at_once_and_a_token_at_hand_stays() {
    let folder = Folder::new();
    let path = folder.path("key.pem");
    let (old, new) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let known = SigningKey::from_pem(new.serialize_pem()).unwrap().public_jwk();
    let endpoint = Api::new(move |request| {
        let jwt = futures_util::FutureExt::now_or_never(Jwt::of(request)).unwrap();
        match jwt.is_signed_by(&known) {
            true => answer(200, None, TOKEN),
            false => answer(401, None, r#"{"error":"invalid_client"}"#),
        }
    });
    std::fs::write(&path, old.serialize_pem()).unwrap();
    let auth = ClientAuth::private_key_jwt("client-id", KeyFile::new(&path));
    let tokens = TokenCache::new(credentials(auth), TokenEndpoint::new(endpoint.clone()));
    for _ in 0..3 {
        assert_eq!(tokens.get().await.unwrap_err().error(), Some("invalid_client"));
    }
    assert_eq!(endpoint.count(), 1);
    folder.replace("key.pem", &new.serialize_pem());
    tokens.get().await.unwrap();
    assert_eq!(endpoint.count(), 2);

    folder.replace("key.pem", &old.serialize_pem());
    tokio::time::advance(Duration::from_secs(1)).await;
    tokens.get().await.unwrap();
    assert_eq!(endpoint.count(), 2);
}
