//! The certificate of the key, in DER or PEM.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tower::ServiceExt;
use tower_oauth2::grant::JwtBearer;
use tower_oauth2::jwt::{SignedJwt, SigningKey};
use tower_oauth2::{ClientAuth, ConfigError, Credentials, TokenErrorKind, TokenRequest};

use super::vectors::{CERTIFICATE, CERTIFICATE_SHA1, CERTIFICATE_SHA256, P256};
use super::{ENDPOINT, Jwt, answer};
use crate::support::{Api, single_try};

fn with(certificate: impl AsRef<[u8]>) -> SignedJwt {
    SignedJwt::new(SigningKey::from_jwk(P256).unwrap()).certificate(certificate)
}

fn credentials(jwt: SignedJwt) -> Result<Credentials, ConfigError> {
    Credentials::new(ENDPOINT, ClientAuth::private_key_jwt("client-id", jwt))
}

fn der() -> Vec<u8> {
    let lines = CERTIFICATE.lines().filter(|line| !line.starts_with('-'));
    BASE64_STANDARD.decode(lines.collect::<String>()).unwrap()
}

// RFC 7515 sections 4.1.7 and 4.1.8
#[tokio::test]
async fn a_certificate_adds_its_thumbprints_to_the_header() {
    let endpoint = Api::new(|_| answer(200, None, r#"{"access_token":"t"}"#));
    let key = SigningKey::from_jwk(P256).unwrap();
    let chain =
        format!("subject=CN = client\n{CERTIFICATE}{}", CERTIFICATE.replace("MIIB", "MIIC"));
    let one_line = CERTIFICATE.replace('\n', r"\n");
    for certificate in [CERTIFICATE.as_bytes(), &der(), chain.as_bytes(), one_line.as_bytes()] {
        let request = TokenRequest::new(credentials(with(certificate)).unwrap());
        single_try(endpoint.clone()).oneshot(request).await.unwrap();
        let jwt = Jwt::of(endpoint.requests().last().unwrap()).await;
        assert!(jwt.is_signed_by(&key.public_jwk()));
        let header = serde_json::json!({
            "alg": "ES256", "typ": "JWT", "x5t": CERTIFICATE_SHA1, "x5t#S256": CERTIFICATE_SHA256,
        });
        assert_eq!(jwt.header, header);
    }
}

#[test]
fn a_certificate_is_the_same_in_der_and_pem() {
    assert_eq!(credentials(with(CERTIFICATE)).unwrap(), credentials(with(der())).unwrap());
    let without = SigningKey::from_jwk(P256).unwrap().into();
    assert_ne!(credentials(with(CERTIFICATE)).unwrap(), credentials(without).unwrap());
}

// W12
#[tokio::test]
async fn a_value_that_is_not_a_certificate_is_an_error() {
    let der = der();
    let key = rcgen::KeyPair::generate().unwrap();
    let not_one = "certificate must be an X.509 certificate";
    for (certificate, problem) in [
        (&b""[..], "certificate is empty"),
        (b"certificate", "certificate is not PEM: it has no BEGIN line"),
        (&der[..der.len() - 1], not_one),
        (&[&der[..], b"\n"].concat(), not_one),
        (&key.serialize_der(), not_one),
        (
            key.serialize_pem().as_bytes(),
            "certificate must be a certificate: the PEM text has none",
        ),
        (&CERTIFICATE.as_bytes()[..CERTIFICATE.len() - 9], "certificate is truncated"),
        (
            CERTIFICATE.replacen('M', "", 1).as_bytes(),
            "certificate is not valid PEM: its base64 is damaged",
        ),
    ] {
        assert_eq!(credentials(with(certificate)).unwrap_err().to_string(), problem);
    }
    let grant = JwtBearer::signed("robot", with("certificate"));
    let credentials = Credentials::new(ENDPOINT, ClientAuth::anonymous()).unwrap().grant(grant);
    let nothing = Api::new(|_| panic!("the request was sent"));
    let error = single_try(nothing).oneshot(TokenRequest::new(credentials)).await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::ClientAuthentication);
    assert!(error.to_string().contains("certificate is not PEM"), "{error}");
}
