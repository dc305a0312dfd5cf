//! The audience of JWTs that are signed here (W8).

use std::error::Error as _;

use serde_json::Value;
use tower::ServiceExt;
use tower_oauth2::client_auth::ClientSecretJwt;
use tower_oauth2::grant::JwtBearer;
use tower_oauth2::jwt::{Audience, SignedJwt, SigningKey};
use tower_oauth2::metadata::Metadata;
use tower_oauth2::{ClientAuth, Credentials, TokenError, TokenErrorKind, TokenRequest};

use super::{ENDPOINT, Jwt, answer, form, member, vectors};
use crate::support::{Api, SECRET, single_try};

const ISSUER: &str = "https://auth.test/realm";
const TOKEN: &str = r#"{"access_token":"t"}"#;
const METADATA: &str =
    r#"{"issuer":"https://auth.test/realm","token_endpoint":"https://auth.test/token"}"#;

fn jwt() -> SignedJwt {
    SigningKey::from_jwk(vectors::P256).unwrap().into()
}

fn server() -> Api {
    Api::new(|request| {
        let is_metadata = request.method() == http::Method::GET;
        answer(200, None, if is_metadata { METADATA } else { TOKEN })
    })
}

/// Returns the form of the token request.
async fn sent(credentials: Credentials) -> Result<Vec<(String, String)>, TokenError> {
    let server = server();
    let request = TokenRequest::new(credentials);
    single_try(server.clone()).oneshot(request).await?;
    Ok(form(server.requests().last().unwrap()).await)
}

async fn audience(credentials: Credentials) -> Value {
    let form = sent(credentials).await.unwrap();
    let assertion = member(&form, "client_assertion").or(member(&form, "assertion"));
    Jwt::parse(assertion.unwrap()).claims["aud"].clone()
}

async fn discovered(auth: ClientAuth) -> [Credentials; 2] {
    let metadata = Metadata::fetch(ISSUER, server()).await.unwrap();
    [metadata.credentials(auth.clone()).unwrap(), Credentials::from_issuer(ISSUER, auth).unwrap()]
}

fn at_endpoint(auth: ClientAuth) -> Credentials {
    Credentials::new(ENDPOINT, auth).unwrap()
}

// W8
#[tokio::test]
async fn the_audience_is_the_issuer_if_metadata_names_it() {
    for auth in
        [ClientAuth::private_key_jwt("id", jwt()), ClientAuth::client_secret_jwt("id", SECRET)]
    {
        assert_eq!(audience(at_endpoint(auth.clone())).await, ENDPOINT);
        for credentials in discovered(auth).await {
            assert_eq!(credentials.issuer(), Some(ISSUER));
            assert_eq!(audience(credentials).await, ISSUER);
        }
    }
    let grant = || JwtBearer::signed("robot", jwt());
    assert_eq!(audience(at_endpoint(ClientAuth::anonymous()).grant(grant())).await, ENDPOINT);
    for credentials in discovered(ClientAuth::anonymous()).await {
        assert_eq!(audience(credentials.grant(grant())).await, ISSUER);
    }
}

// W8
#[tokio::test]
async fn an_audience_that_is_set_is_used() {
    for (set, expected) in [
        (Audience::Issuer, ISSUER),
        (Audience::TokenEndpoint, ENDPOINT),
        ("https://elsewhere.test".into(), "https://elsewhere.test"),
        ("".into(), ISSUER),
    ] {
        for auth in [
            ClientAuth::private_key_jwt("id", jwt().audience(set.clone())),
            ClientAuth::custom(ClientSecretJwt::new("id", SECRET).audience(set.clone())),
        ] {
            for credentials in discovered(auth).await {
                assert_eq!(audience(credentials).await, expected);
            }
        }
    }
}

// W8
#[tokio::test]
async fn an_unknown_issuer_as_the_audience_is_an_error() {
    let auth = ClientAuth::private_key_jwt("id", jwt().audience(Audience::Issuer));
    let grant = JwtBearer::signed("robot", jwt().audience(Audience::Issuer));
    for credentials in [at_endpoint(auth), at_endpoint(ClientAuth::anonymous()).grant(grant)] {
        let error = sent(credentials).await.unwrap_err();
        assert_eq!(error.kind(), TokenErrorKind::ClientAuthentication);
        assert!(!error.is_transient());
        assert_eq!(
            error.source().unwrap().to_string(),
            "JWT audience cannot be the issuer: use Credentials::from_issuer or Metadata"
        );
    }
}

#[tokio::test]
async fn claims_and_typ_of_an_assertion_can_be_set() {
    let jwt = jwt().subject("alice").claim("custom", 17).claim("jti", Value::Null).typ("own+jwt");
    let form = sent(at_endpoint(ClientAuth::private_key_jwt("id", jwt))).await.unwrap();
    let jwt = Jwt::parse(member(&form, "client_assertion").unwrap());
    assert_eq!(jwt.header, serde_json::json!({ "alg": "ES256", "typ": "own+jwt" }));
    assert_eq!((&jwt.claims["iss"], &jwt.claims["sub"]), (&"id".into(), &"alice".into()));
    assert_eq!((&jwt.claims["custom"], jwt.claims.get("jti")), (&17.into(), None));
}
