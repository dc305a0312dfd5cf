use std::collections::HashSet;
use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ring::hmac;
use tower::{BoxError, ServiceExt};
use tower_oauth2::client_auth::{
    ClientAuthentication, ClientSecretJwt, Identity, TokenRequestParts,
};
use tower_oauth2::jwt::{Algorithm, Audience, KeyFile, SignedJwt, Signer, SigningKey};
use tower_oauth2::source::TokenRetry;
use tower_oauth2::{
    ClientAuth, ConfigError, Credentials, Secret, TokenEndpoint, TokenErrorKind, TokenRequest,
    Tokens,
};

use super::{ENDPOINT, Jwt, answer, form, member, vectors};
use crate::support::{Api, SECRET, Trace, credentials_with, single_try};

const TOKEN: &str = r#"{"access_token":"t"}"#;

fn endpoint() -> Api {
    Api::new(|_| answer(200, None, TOKEN))
}

/// Returns the token request that is sent to `uri` with `auth`.
async fn sent_to(uri: &str, auth: ClientAuth) -> super::HttpRequest {
    let endpoint = endpoint();
    let credentials = Credentials::new(uri, auth).unwrap();
    let request = TokenRequest::new(credentials);
    single_try(endpoint.clone()).oneshot(request).await.unwrap();
    assert_eq!(endpoint.count(), 1);
    endpoint.requests().remove(0)
}

async fn sent(auth: ClientAuth) -> super::HttpRequest {
    sent_to(ENDPOINT, auth).await
}

fn key() -> SigningKey {
    SigningKey::from_jwk(vectors::P256).unwrap()
}

fn jwt() -> SignedJwt {
    SignedJwt::new(key())
}

fn signed(jwt: SignedJwt) -> ClientAuth {
    ClientAuth::private_key_jwt("client-id", jwt)
}

// W2, RFC 7523 sections 2.2 and 3
#[tokio::test]
async fn an_assertion_has_issuer_subject_audience_and_times() {
    let before = SystemTime::now() - Duration::from_secs(1);
    let request = sent(ClientAuth::private_key_jwt("client-id", key().with_kid("k1"))).await;
    assert!(!request.headers().contains_key("authorization"));
    let form = form(&request).await;
    assert_eq!(member(&form, "client_id"), Some("client-id"));
    assert_eq!(member(&form, "grant_type"), Some("client_credentials"));
    assert_eq!(form.len(), 4);

    let jwt = Jwt::of(&request).await;
    assert_eq!(jwt.header, serde_json::json!({ "alg": "ES256", "kid": "k1", "typ": "JWT" }));
    assert!(jwt.is_signed_by(&key().public_jwk()));
    let claims = jwt.claims.as_object().unwrap();
    assert_eq!(claims.len(), 6);
    for (name, value) in [("iss", "client-id"), ("sub", "client-id"), ("aud", ENDPOINT)] {
        assert_eq!(claims[name], value, "{name}");
    }
    // Servers whose clock is behind refuse times of the future.
    let now = jwt.time("iat") + Duration::from_secs(15);
    assert!(now >= before && now <= SystemTime::now());
    assert_eq!(jwt.time("exp"), now + Duration::from_secs(60));
    assert_eq!(super::decode(claims["jti"].as_str().unwrap()).len(), 16);
}

// W2
#[tokio::test]
async fn every_algorithm_is_verified_by_the_server() {
    let rsa = SigningKey::from_jwk(vectors::RSA).unwrap();
    for key in [
        SigningKey::generate(Algorithm::ES256).unwrap(),
        SigningKey::generate(Algorithm::ES384).unwrap(),
        SigningKey::generate(Algorithm::EdDSA).unwrap(),
        rsa.clone().with_algorithm(Algorithm::RS384).unwrap(),
        rsa.clone().with_algorithm(Algorithm::RS512).unwrap(),
        rsa.clone().with_algorithm(Algorithm::PS256).unwrap(),
        rsa.clone().with_algorithm(Algorithm::PS384).unwrap(),
        rsa.clone().with_algorithm(Algorithm::PS512).unwrap(),
        rsa,
    ] {
        let request = sent(ClientAuth::private_key_jwt("client-id", key.clone())).await;
        let jwt = Jwt::of(&request).await;
        assert_eq!(jwt.header["alg"], key.algorithm().to_string());
        assert_eq!(jwt.header.get("kid"), None);
        assert!(jwt.is_signed_by(&key.public_jwk()), "{key:?}");
    }
}

// W2
#[tokio::test]
async fn client_secret_jwt_sends_an_hmac_and_not_the_secret() {
    let request = sent(ClientAuth::client_secret_jwt("client-id", SECRET)).await;
    let form = form(&request).await;
    assert_eq!(member(&form, "client_id"), Some("client-id"));
    assert_eq!(member(&form, "client_secret"), None);
    let jwt = Jwt::of(&request).await;
    assert_eq!(jwt.header, serde_json::json!({ "alg": "HS256", "typ": "JWT" }));
    assert_eq!((&jwt.claims["sub"], &jwt.claims["aud"]), (&"client-id".into(), &ENDPOINT.into()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    assert!(hmac::verify(&key, jwt.input.as_bytes(), &jwt.signature).is_ok());
}

// W8, RFC 7523 section 3: servers compare the text.
#[tokio::test]
async fn the_audience_is_the_endpoint_as_it_is_spelled() {
    for uri in ["https://auth.test", "https://Auth.test:443/a%2fb?tenant=1", "HTTPS://auth.test/"] {
        let auth = ClientAuth::private_key_jwt("client-id", key());
        assert_eq!(Jwt::of(&sent_to(uri, auth).await).await.claims["aud"], uri);
    }
    let issuer = "https://auth.test/realm";
    for auth in [
        signed(jwt().audience(issuer)),
        ClientAuth::custom(ClientSecretJwt::new("client-id", SECRET).audience(issuer)),
    ] {
        assert_eq!(Jwt::of(&sent(auth).await).await.claims["aud"], issuer);
    }
    let request = sent(signed(jwt().audience(issuer).audience(""))).await;
    assert_eq!(Jwt::of(&request).await.claims["aud"], ENDPOINT);
}

#[tokio::test]
async fn the_lifetime_of_an_assertion_can_be_set() {
    for (lifetime, seconds) in [
        (Duration::from_secs(5), 5),
        (Duration::ZERO, 1),
        (Duration::from_millis(1500), 1),
        (Duration::MAX, 365 * 24 * 60 * 60),
    ] {
        let assertion = Jwt::of(&sent(signed(jwt().lifetime(lifetime))).await).await;
        assert_eq!(assertion.time("exp"), assertion.time("iat") + Duration::from_secs(seconds));
        let auth = ClientSecretJwt::new("client-id", SECRET).lifetime(lifetime);
        let jwt = Jwt::of(&sent(ClientAuth::custom(auth)).await).await;
        assert_eq!(jwt.time("exp"), jwt.time("iat") + Duration::from_secs(seconds));
        assert!(jwt.time("iat") <= SystemTime::now() && jwt.time("exp") > SystemTime::now());
    }
}

// W8, RFC 7519 section 4.1.7
#[tokio::test(start_paused = true)]
async fn each_attempt_has_its_own_assertion() {
    let endpoint = Api::new(|_| answer(503, None, ""));
    let source = TokenEndpoint::new(endpoint.clone()).retry(TokenRetry::new(4));
    for auth in [
        ClientAuth::private_key_jwt("client-id", key()),
        ClientAuth::client_secret_jwt("client-id", SECRET),
    ] {
        let request = TokenRequest::new(credentials_with(auth));
        assert_eq!(source.clone().oneshot(request).await.unwrap_err().status().unwrap(), 503);
    }
    let mut seen = HashSet::new();
    for request in endpoint.requests() {
        let jti = Jwt::of(&request).await.claims["jti"].as_str().unwrap().to_owned();
        assert!(seen.insert(jti));
    }
    assert_eq!(seen.len(), 10);
}

// S2
#[test]
fn different_keys_and_secrets_are_different_clients() {
    let auths = || {
        let with = |key: SigningKey| ClientAuth::private_key_jwt("client-id", key);
        let rsa = SigningKey::from_jwk(vectors::RSA).unwrap();
        vec![
            with(key()),
            with(key().with_kid("k1")),
            with(SigningKey::from_jwk(vectors::ED25519).unwrap()),
            with(rsa.clone()),
            with(rsa.with_algorithm(Algorithm::PS256).unwrap()),
            signed(jwt().audience("a")),
            signed(jwt().audience(Audience::Issuer)),
            signed(jwt().audience(Audience::TokenEndpoint)),
            signed(jwt().typ("client-authentication+jwt")),
            signed(jwt().lifetime(Duration::from_secs(5))),
            signed(jwt().subject("a")),
            signed(jwt().claim("a", "b")),
            signed(jwt().not_before()),
            signed(jwt().certificate(vectors::CERTIFICATE)),
            ClientAuth::private_key_jwt("client-id", KeyFile::new("/k")),
            ClientAuth::private_key_jwt("client-id", KeyFile::new("/k").kid("k1")),
            ClientAuth::private_key_jwt(
                "client-id",
                KeyFile::new("/k").algorithm(Algorithm::PS256),
            ),
            ClientAuth::private_key_jwt("client-id", KeyFile::new("/k").kid_from_thumbprint()),
            ClientAuth::private_key_jwt("client-id", KeyFile::new("/k").kid("thumbprint")),
            ClientAuth::private_key_jwt("client-id", KeyFile::new("/l")),
            ClientAuth::private_key_jwt("other-id", key()),
            ClientAuth::client_secret_jwt("client-id", SECRET),
            ClientAuth::client_secret_jwt("client-id", Secret::file(SECRET)),
            ClientAuth::client_secret_post("client-id", SECRET),
            ClientAuth::custom(ClientSecretJwt::new("client-id", SECRET).audience("a")),
        ]
    };
    let (some, same) = (auths(), auths());
    for (n, one) in some.into_iter().enumerate() {
        for (m, other) in same.iter().enumerate() {
            assert_eq!(
                credentials_with(one.clone()) == credentials_with(other.clone()),
                n == m,
                "{n} {m}"
            );
        }
    }
}

/// A key in a remote service, with a result that a test chooses.
struct Remote(fn() -> Result<Vec<u8>, BoxError>);

impl Signer for Remote {
    fn algorithm(&self) -> Algorithm {
        Algorithm::ES256
    }

    fn identify(&self, identity: &mut Identity) {
        identity.part("remote");
    }

    async fn sign(&self, _: &[u8]) -> Result<Vec<u8>, BoxError> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        (self.0)()
    }
}

#[tokio::test(start_paused = true)]
async fn a_custom_signer_may_be_slow() {
    let request = sent(ClientAuth::private_key_jwt("client-id", Remote(|| Ok(vec![7; 64])))).await;
    assert_eq!(Jwt::of(&request).await.signature, [7; 64]);
    let shared = Arc::new(Remote(|| Ok(vec![8; 64])));
    let request = sent(ClientAuth::private_key_jwt("client-id", shared)).await;
    assert_eq!(Jwt::of(&request).await.signature, [8; 64]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_if_a_signer_fails() {
    let endpoint = endpoint();
    let ask = async |signer| {
        let auth = ClientAuth::private_key_jwt("client-id", signer);
        let request = TokenRequest::new(credentials_with(auth));
        single_try(endpoint.clone()).oneshot(request).await.unwrap_err()
    };
    let error = ask(Remote(|| Err("the HSM is asleep".into()))).await;
    assert_eq!(error.kind(), TokenErrorKind::ClientAuthentication);
    assert!(error.is_transient());
    assert_eq!(error.source().unwrap().to_string(), "the HSM is asleep");

    // A signature in DER, as some services return it, and an empty one.
    for wrong in [|| Ok(vec![0x30; 70]), || Ok(Vec::new())] {
        let error = ask(Remote(wrong)).await;
        assert!(error.source().unwrap().is::<ConfigError>());
        assert!(!error.is_transient());
    }
    assert_eq!(endpoint.count(), 0);
}

// W12
#[tokio::test]
async fn an_empty_secret_is_an_error_without_credentials_too() {
    let auth = ClientAuth::client_secret_jwt("client-id", "");
    let mut request = TokenRequestParts::new("https://auth.test/token".parse().unwrap());
    let error = auth.authenticate(&mut request).await.unwrap_err();
    assert_eq!(error.to_string(), "client secret is empty");
}

// X3, O
#[tokio::test(start_paused = true)]
async fn assertions_and_keys_are_not_shown() {
    let (trace, _guard) = Trace::start();
    let rsa = SigningKey::from_jwk(vectors::RSA).unwrap();
    let mut shown = Vec::new();
    for auth in [
        ClientAuth::private_key_jwt("1d-of-the-client", rsa.clone()),
        ClientAuth::client_secret_jwt("1d-of-the-client", SECRET),
    ] {
        // The server repeats the request in its response.
        let endpoint = Api::new(|request| {
            let mut response = super::HttpResponse::new(request.body().clone());
            *response.status_mut() = http::StatusCode::UNAUTHORIZED;
            response.headers_mut().insert("date", "Thu, 01 Jan 2026 00:00:00 GMT".parse().unwrap());
            response
        });
        shown.push(format!("{auth:?} {:#?}", credentials_with(auth.clone())));
        let tokens = Tokens::new(credentials_with(auth), single_try(endpoint));
        let error = tokens.get().await.unwrap_err();
        shown.push(format!("{error} {error:?} {:?}", error.source()));
    }
    shown.push(format!(
        "{:?} {:?} {:?}",
        SignedJwt::new(rsa),
        ClientSecretJwt::new("1d-of-the-client", SECRET),
        Secret::from(SECRET),
    ));
    shown.extend(trace.lines());
    for text in shown {
        for hidden in [SECRET, "1d-of-the-client", "eyJhbGci", "ofgWCuLjybRlzo0", "Eq5xpGnNCivDf"] {
            assert!(!text.contains(hidden), "{text}");
        }
    }
}
