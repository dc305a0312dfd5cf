use serde_json::{Value, json};
use tower_oauth2::jwt::{Algorithm, Signer, SigningKey};

use super::vectors::*;

/// Returns a JWK with these members replaced.
fn with(jwk: &str, members: Value) -> String {
    let mut jwk: Value = serde_json::from_str(jwk).unwrap();
    for (name, value) in members.as_object().unwrap() {
        jwk[name] = value.clone();
    }
    jwk.to_string()
}

fn without(jwk: &str, name: &str) -> String {
    let mut jwk: Value = serde_json::from_str(jwk).unwrap();
    jwk.as_object_mut().unwrap().remove(name).unwrap();
    jwk.to_string()
}

#[track_caller]
fn refused(jwk: &str, why: &str) {
    let error = SigningKey::from_jwk(jwk).map(drop).unwrap_err();
    assert_eq!(error.to_string(), format!("signing key {why}"), "{jwk}");
}

#[test]
fn kid_and_alg_of_a_jwk_are_used() {
    let key = SigningKey::from_jwk(RSA_WITH_KID).unwrap();
    assert_eq!((key.kid(), key.algorithm()), (Some("2011-04-29"), Algorithm::RS256));
    let jwk = with(RSA_WITH_KID, json!({ "alg": "PS256", "use": "sig", "key_ops": ["sign"] }));
    assert_eq!(SigningKey::from_jwk(&jwk).unwrap().algorithm(), Algorithm::PS256);
    let jwk = with(ED25519, json!({ "alg": "Ed25519", "kid": "", "unknown": [1, {}] }));
    let key = SigningKey::from_jwk(&jwk).unwrap();
    assert_eq!((key.kid(), key.algorithm()), (None, Algorithm::EdDSA));
}

#[test]
fn a_jwk_that_is_not_for_signing_is_refused() {
    let not_for_signing = "is not for signing: its `use` or `key_ops` says so";
    refused(&with(P256, json!({ "use": "enc" })), not_for_signing);
    refused(&with(P256, json!({ "key_ops": ["verify"] })), not_for_signing);
    refused(&with(P256, json!({ "key_ops": [] })), not_for_signing);
    refused(&with(P256, json!({ "key_ops": "sign" })), not_for_signing);
}

// W3
#[test]
fn a_byte_order_mark_before_a_jwk_is_skipped() {
    assert!(SigningKey::from_jwk(&format!("\u{feff}{P256}")).is_ok());
}

#[test]
fn a_jwk_of_another_type_is_refused() {
    refused("", "is empty");
    refused("  \n", "is empty");
    refused("secret", "is not a JSON object");
    refused("[]", "is not a JSON object");
    refused(&P256[..P256.len() - 2], "is not a JSON object");
    refused(r#"{"keys":[]}"#, "is a set of keys: name one of them");
    refused("{}", "has a `kty` that is not EC, RSA or OKP");
    refused(r#"{"kty":7,"d":"AA"}"#, "has a `kty` that is not EC, RSA or OKP");
    refused(r#"{"kty":"AKP","d":"AA"}"#, "has a `kty` that is not EC, RSA or OKP: AKP");
    refused(r#"{"kty":"oct","k":"c2VjcmV0"}"#, "is a shared secret: use client_secret_jwt");
    for jwk in [P256, ED25519, RSA] {
        refused(&without(jwk, "d"), "is a public key: the private part is missing");
    }
    let supported = if cfg!(feature = "aws-lc-rs") {
        "must be on P-256, P-384 or P-521"
    } else {
        let supported = "must be on P-256 or P-384, or on P-521 with the feature `aws-lc-rs`";
        refused(&with(P256, json!({ "crv": "P-521" })), &format!("{supported}: P-521"));
        supported
    };
    refused(&with(P256, json!({ "crv": "secp256k1" })), &format!("{supported}: secp256k1"));
    refused(&without(P256, "crv"), supported);
    for curve in ["Ed448", "X25519"] {
        let why = format!("must be on Ed25519: {curve}");
        refused(&with(ED25519, json!({ "crv": curve })), &why);
    }
}

#[test]
fn an_alg_that_does_not_match_is_refused() {
    let rsa = "RS256, RS384, RS512, PS256, PS384 or PS512";
    for (jwk, alg, supported) in
        [(P256, "RS256", "ES256"), (P256, "ES384", "ES256"), (RSA, "EdDSA", rsa)]
    {
        let why = format!("supports {supported}, and not the algorithm: {alg}");
        refused(&with(jwk, json!({ "alg": alg })), &why);
    }
    let why = "has an `alg` that is not ES256, ES384, ES512, RS256, RS384, RS512, PS256, PS384, \
               PS512 or EdDSA";
    for alg in ["none", "HS256", "RS1"] {
        refused(&with(RSA, json!({ "alg": alg })), &format!("{why}: {alg}"));
    }
    refused(&with(RSA, json!({ "alg": "" })), why);
}

#[test]
fn a_damaged_jwk_is_refused() {
    let apart = "has parts that do not match";
    let other = SigningKey::generate(Algorithm::ES256).unwrap().public_jwk();
    refused(&with(P256, json!({ "x": other["x"], "y": other["y"] })), apart);
    let other = SigningKey::generate(Algorithm::EdDSA).unwrap().public_jwk();
    refused(&with(ED25519, json!({ "x": other["x"] })), apart);
    refused(&with(P256, json!({ "crv": "P-384" })), "has a member of the wrong length: d");
    refused(&with(ED25519, json!({ "d": "AAAA" })), "has a member of the wrong length: d");
    refused(&with(P256, json!({ "d": "s3cr3t!" })), "has a member that is not base64url: d");
    refused(&without(P256, "y"), "lacks a member: y");
    for part in ["n", "e", "p", "q", "dp", "dq", "qi"] {
        refused(&without(RSA, part), &format!("lacks a member: {part}"));
    }
    refused(&with(RSA, json!({ "oth": [] })), "is an RSA key with more than two primes");
    // Each number is valid by itself.
    let rsa: Value = serde_json::from_str(RSA).unwrap();
    refused(&with(RSA, json!({ "dp": rsa["dq"] })), apart);
    let other: Value = serde_json::from_str(RSA_WITH_KID).unwrap();
    refused(&with(RSA, json!({ "n": other["n"] })), apart);
    refused(&with(RSA, json!({ "n": rsa["p"] })), "is an RSA key of less than 2048 bits");
}

// RFC 7518 section 2 forbids them, but some tools write them.
#[test]
fn leading_zeros_of_a_number_are_ignored() {
    let rsa: Value = serde_json::from_str(RSA).unwrap();
    let padded = |name: &str| {
        use base64::Engine;
        let bytes = [vec![0], super::decode(rsa[name].as_str().unwrap())].concat();
        base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(bytes)
    };
    let jwk = with(RSA, json!({ "n": padded("n"), "p": padded("p"), "qi": padded("qi") }));
    let key = SigningKey::from_jwk(&jwk).unwrap();
    assert_eq!(key.thumbprint(), SigningKey::from_jwk(RSA).unwrap().thumbprint());
}
