//! Tokens that are JWTs, and are signed here.

use std::time::{Duration, SystemTime};

use tower::{BoxError, ServiceExt};
use tower_oauth2::client_auth::Identity;
use tower_oauth2::jwt::{Algorithm, Audience, KeyFile, SignedJwt, Signer, SigningKey};
use tower_oauth2::source::SelfSigned;
use tower_oauth2::{AccessToken, Credentials, TokenError, TokenErrorKind, TokenRequest, Tokens};

use super::{Jwt, vectors};
use crate::support::{Folder, credentials_with};

const APP: &str = "Iv23liExample";

fn key() -> SigningKey {
    SigningKey::from_jwk(vectors::P256).unwrap()
}

async fn token_of(jwt: SignedJwt, credentials: Credentials) -> Result<AccessToken, TokenError> {
    SelfSigned::new(APP, jwt).oneshot(TokenRequest::new(credentials)).await
}

fn app() -> Credentials {
    Credentials::named("app")
}

#[tokio::test]
async fn a_token_is_a_jwt_without_an_audience() {
    let before = SystemTime::now() - Duration::from_secs(1);
    let jwt = SignedJwt::new(key()).lifetime(Duration::from_secs(540)).claim("scope", "a b");
    let token = token_of(jwt, app()).await.unwrap();
    assert_eq!(token.lifetime(), Some(Duration::from_secs(525)));
    let jwt = Jwt::parse(token.secret());
    assert!(jwt.is_signed_by(&key().public_jwk()));
    assert_eq!((&jwt.claims["iss"], &jwt.claims["sub"]), (&APP.into(), &APP.into()));
    assert_eq!((&jwt.claims["scope"], jwt.claims.get("aud")), (&"a b".into(), None));
    let now = jwt.time("iat") + Duration::from_secs(15);
    assert!(now >= before && now <= SystemTime::now());
    assert_eq!(jwt.time("exp"), now + Duration::from_secs(525));
}

#[tokio::test]
async fn an_audience_that_is_set_is_used() {
    let jwt = || SignedJwt::new(key());
    let token = token_of(jwt().audience("https://api.test"), app()).await.unwrap();
    assert_eq!(Jwt::parse(token.secret()).claims["aud"], "https://api.test");
    let at_endpoint = credentials_with(tower_oauth2::ClientAuth::anonymous());
    let token = token_of(jwt().audience(Audience::TokenEndpoint), at_endpoint).await.unwrap();
    assert_eq!(Jwt::parse(token.secret()).claims["aud"], super::ENDPOINT);
    let error = token_of(jwt().audience(Audience::TokenEndpoint), app()).await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::ClientAuthentication);
    assert!(error.to_string().starts_with("no token from app: "), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_cache_renews_a_token_with_the_current_key() {
    let folder = Folder::new();
    let path = folder.path("key.json");
    std::fs::write(&path, vectors::P256).unwrap();
    let jwt = SignedJwt::new(KeyFile::new(&path)).lifetime(Duration::from_secs(60));
    let tokens = Tokens::new(app(), SelfSigned::new(APP, jwt));
    let first = tokens.get().await.unwrap();
    assert_eq!(tokens.get().await.unwrap().secret(), first.secret());

    std::fs::write(&path, vectors::ED25519).unwrap();
    tokio::time::advance(Duration::from_secs(61)).await;
    let second = Jwt::parse(tokens.get().await.unwrap().secret());
    assert_eq!(second.header["alg"], "EdDSA");
}

/// A key that cannot sign.
struct Broken;

impl Signer for Broken {
    fn algorithm(&self) -> Algorithm {
        Algorithm::ES256
    }

    fn identify(&self, _: &mut Identity) {}

    async fn sign(&self, _: &[u8]) -> Result<Vec<u8>, BoxError> {
        Err("the KMS is away".into())
    }
}

#[tokio::test]
async fn a_key_that_cannot_sign_is_a_transient_error() {
    let error = token_of(SignedJwt::new(Broken), app()).await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::ClientAuthentication);
    assert!(error.is_transient());
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the KMS is away");
}
