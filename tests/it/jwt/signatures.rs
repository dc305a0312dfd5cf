use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use tower_oauth2::jwt::{Algorithm, Signer, SigningKey};

use super::vectors::*;
use super::verifies;

async fn signed(key: &SigningKey, message: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()).await.unwrap())
}

// RFC 7515 appendix A.2
#[tokio::test]
async fn rs256_matches_the_example_of_the_rfc() {
    let key = SigningKey::from_jwk(RSA).unwrap();
    assert_eq!(key.algorithm(), Algorithm::RS256);
    assert_eq!(signed(&key, RS256_INPUT).await, RS256_SIGNATURE);
}

// RFC 8037 appendix A
#[tokio::test]
async fn eddsa_matches_the_example_of_the_rfc() {
    let key = SigningKey::from_jwk(ED25519).unwrap();
    assert_eq!(signed(&key, EDDSA_INPUT).await, EDDSA_SIGNATURE);
    assert_eq!(key.thumbprint(), ED25519_THUMBPRINT);
    assert_eq!(
        key.public_jwk().to_string(),
        r#"{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#
    );
}

// RFC 7515 appendix A.3
#[tokio::test]
async fn an_es256_signature_is_two_integers() {
    let key = SigningKey::from_jwk(P256).unwrap();
    assert_eq!(
        key.public_jwk().to_string(),
        concat!(
            r#"{"crv":"P-256","kty":"EC","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","#,
            r#""y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#
        )
    );
    for _ in 0..16 {
        let signature = key.sign(b"message").await.unwrap();
        assert_eq!(signature.len(), 64);
        assert!(verifies(&key.public_jwk(), "ES256", b"message", &signature));
    }
}

// RFC 7638 section 3.1
#[test]
fn the_thumbprint_matches_the_example_of_the_rfc() {
    let key = SigningKey::from_jwk(RSA_WITH_KID).unwrap();
    assert_eq!(key.thumbprint(), RSA_THUMBPRINT);
    // `kid` and algorithm are not part of the thumbprint.
    let other = key.with_kid("other").with_algorithm(Algorithm::PS256).unwrap();
    assert_eq!(other.thumbprint(), RSA_THUMBPRINT);
}

#[tokio::test]
async fn signatures_of_every_algorithm_are_verified() {
    let rsa = SigningKey::from_jwk(RSA).unwrap();
    let keys = [
        SigningKey::generate(Algorithm::ES256).unwrap(),
        SigningKey::generate(Algorithm::ES384).unwrap(),
        SigningKey::generate(Algorithm::EdDSA).unwrap(),
        rsa.clone().with_algorithm(Algorithm::PS256).unwrap(),
        rsa.clone().with_algorithm(Algorithm::PS384).unwrap(),
        rsa.clone().with_algorithm(Algorithm::PS512).unwrap(),
        rsa.clone().with_algorithm(Algorithm::RS384).unwrap(),
        rsa.clone().with_algorithm(Algorithm::RS512).unwrap(),
        rsa,
    ];
    for key in &keys {
        let algorithm = key.algorithm().to_string();
        let signature = key.sign(b"message").await.unwrap();
        assert!(verifies(&key.public_jwk(), &algorithm, b"message", &signature), "{algorithm}");
        assert!(!verifies(&key.public_jwk(), &algorithm, b"massage", &signature), "{algorithm}");
    }
    // The two RSA algorithms do not verify each other.
    let signature = keys[3].sign(b"message").await.unwrap();
    assert!(!verifies(&keys[3].public_jwk(), "RS256", b"message", &signature));
}

#[test]
fn a_key_signs_only_with_its_algorithms() {
    let rsa = SigningKey::from_jwk(RSA).unwrap();
    let supported = "RS256, RS384, RS512, PS256, PS384 or PS512";
    for (key, supported, algorithm) in [
        (SigningKey::generate(Algorithm::ES256).unwrap(), "ES256", Algorithm::ES384),
        (SigningKey::generate(Algorithm::ES256).unwrap(), "ES256", Algorithm::ES512),
        (SigningKey::generate(Algorithm::ES384).unwrap(), "ES384", Algorithm::RS256),
        (SigningKey::generate(Algorithm::EdDSA).unwrap(), "EdDSA", Algorithm::PS512),
        (rsa.clone(), supported, Algorithm::ES256),
        (rsa, supported, Algorithm::EdDSA),
    ] {
        let error = key.with_algorithm(algorithm).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("signing key supports {supported}, and not the algorithm: {algorithm}")
        );
    }
    for algorithm in [Algorithm::RS256, Algorithm::PS512] {
        let error = SigningKey::generate(algorithm).unwrap_err();
        let supported = "can be generated for ES256, ES384, ES512 and EdDSA only";
        assert_eq!(error.to_string(), format!("signing key {supported}: {algorithm}"));
    }
}

#[cfg(feature = "aws-lc-rs")]
#[tokio::test]
async fn es512_is_available_with_aws_lc_rs() {
    use base64::prelude::BASE64_STANDARD;

    // openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521
    let key = SigningKey::from_pem(P521_PEM).unwrap();
    assert_eq!((key.algorithm(), &key.public_jwk()["crv"]), (Algorithm::ES512, &json!("P-521")));
    assert_eq!(key.sign(b"message").await.unwrap().len(), 132);
    let der: String = P521_PEM.lines().filter(|line| !line.starts_with('-')).collect();
    let same = SigningKey::from_der(BASE64_STANDARD.decode(der).unwrap()).unwrap();
    assert_eq!(key.thumbprint(), same.thumbprint());

    let generated = SigningKey::generate(Algorithm::ES512).unwrap();
    let signature = generated.sign(b"message").await.unwrap();
    let [x, y] =
        ["x", "y"].map(|name| super::decode(generated.public_jwk()[name].as_str().unwrap()));
    assert_eq!((x.len(), y.len()), (66, 66));
    let verifies = |message: &[u8]| {
        let how = &aws_lc_rs::signature::ECDSA_P521_SHA512_FIXED;
        let key = [vec![4], x.clone(), y.clone()].concat();
        aws_lc_rs::signature::UnparsedPublicKey::new(how, key).verify(message, &signature).is_ok()
    };
    assert!(verifies(b"message") && !verifies(b"massage"));
}

#[cfg(not(feature = "aws-lc-rs"))]
#[test]
fn es512_without_aws_lc_rs_is_an_error() {
    let error = SigningKey::generate(Algorithm::ES512).unwrap_err();
    let problem = "must be on P-256 or P-384, or on P-521 with the feature `aws-lc-rs`: P-521";
    assert_eq!(error.to_string(), format!("signing key {problem}"));
}

#[test]
fn algorithms_have_their_registered_names() {
    let all = "ES256 ES384 ES512 RS256 RS384 RS512 PS256 PS384 PS512 EdDSA";
    for name in all.split(' ') {
        assert_eq!(name.parse::<Algorithm>().unwrap().to_string(), name);
    }
    assert_eq!("Ed25519".parse(), Ok(Algorithm::EdDSA));
    for name in ["none", "HS256", "es256", "RS1"] {
        let error = name.parse::<Algorithm>().unwrap_err().to_string();
        assert!(error.starts_with("algorithm must be ES256, ") && error.ends_with(name), "{error}");
        assert!(all.split(' ').all(|known| error.contains(known)), "{error}");
    }
    assert!("".parse::<Algorithm>().is_err());
}

#[test]
fn generated_keys_differ() {
    let new = || SigningKey::generate(Algorithm::EdDSA).unwrap();
    let (one, other) = (new(), new());
    assert_ne!(one.thumbprint(), other.thumbprint());
    let credentials = |key| {
        crate::support::credentials_with(tower_oauth2::ClientAuth::private_key_jwt(
            "client-id",
            key,
        ))
    };
    assert_ne!(credentials(one.clone()), credentials(other));
    assert_eq!(one.public_jwk()["kty"], json!("OKP"));
}

#[test]
fn debug_of_a_key_shows_its_algorithm_and_kid() {
    let key = SigningKey::from_jwk(RSA_WITH_KID).unwrap();
    assert_eq!(
        format!("{key:?}"),
        r#"SigningKey { algorithm: RS256, kid: Some("2011-04-29"), .. }"#
    );
    let key = SigningKey::from_jwk(P256).unwrap().with_kid("");
    assert_eq!(format!("{key:?}"), "SigningKey { algorithm: ES256, kid: None, .. }");
}
