//! Writes the JWS Compact Serialization (RFC 7515 section 7.1).

use crate::crypto::hmac;
use crate::crypto::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use tower::BoxError;
use zeroize::Zeroizing;

use super::key::SigningKey;
use super::signer::{DynSigner, Signer};
use crate::error::ConfigError;

/// Encodes bytes as base64url without padding (RFC 7515 section 2).
pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Returns 128 random bits as text, for a unique `jti` (RFC 7519 section 4.1.7).
pub(crate) fn random_id() -> Result<String, BoxError> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "the system has no source of randomness")?;
    Ok(encode(bytes))
}

/// Signs `claims`. `header` has the members of the header except `alg`.
pub(crate) async fn sign(
    signer: &dyn DynSigner,
    header: Map<String, Value>,
    claims: &Value,
) -> Result<Zeroizing<String>, BoxError> {
    let algorithm = signer.algorithm();
    let input = signing_input(&algorithm.to_string(), header, claims);
    let signature = signer.sign(input.as_bytes()).await?;
    let has_right_length =
        algorithm.signature_len().map_or(!signature.is_empty(), |len| signature.len() == len);
    if !has_right_length {
        let problem = "must have the length that its algorithm requires (RFC 7518 section 3.4, \
                       not DER)";
        return Err(ConfigError::new("signature", problem).with_value(algorithm).into());
    }
    Ok(compact(input, &signature))
}

/// Signs `claims` with a key in memory.
pub(crate) fn sign_at_once(
    key: &SigningKey,
    header: Map<String, Value>,
    claims: &Value,
) -> Result<Zeroizing<String>, BoxError> {
    let input = signing_input(&Signer::algorithm(key).to_string(), header, claims);
    let signature = key.signature(input.as_bytes()).map_err(|_| "the key cannot sign")?;
    Ok(compact(input, &signature))
}

/// Signs `claims` with an HMAC: `HS256` (RFC 7518 section 3.2).
pub(crate) fn sign_with_secret(
    secret: &[u8],
    header: Map<String, Value>,
    claims: &Value,
) -> Zeroizing<String> {
    let input = signing_input("HS256", header, claims);
    let tag = hmac_sha256(secret, input.as_bytes());
    compact(input, tag.as_ref())
}

fn hmac_sha256(secret: &[u8], input: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input)
}

fn signing_input(algorithm: &str, header: Map<String, Value>, claims: &Value) -> String {
    let mut whole = Map::from_iter([("alg".to_owned(), Value::from(algorithm))]);
    whole.extend(header);
    format!("{}.{}", encode(Value::Object(whole).to_string()), encode(claims.to_string()))
}

/// Joins the parts of a JWT, which is wiped from memory like a secret.
fn compact(input: String, signature: &[u8]) -> Zeroizing<String> {
    let input = Zeroizing::new(input);
    let mut all =
        Zeroizing::new(String::with_capacity(input.len() + 2 + signature.len() * 4 / 3 + 2));
    all.push_str(&input);
    all.push('.');
    BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut all);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7515 appendix A.1: the key is not text, and the header contains a line break.
    #[test]
    fn the_hmac_matches_the_example_of_the_rfc() {
        let key = BASE64_URL_SAFE_NO_PAD
            .decode(concat!(
                "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75",
                "aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
            ))
            .unwrap();
        let input = concat!(
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt",
            "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
        );
        let signed = compact(input.to_owned(), hmac_sha256(&key, input.as_bytes()).as_ref());
        let (before, signature) = signed.rsplit_once('.').unwrap();
        assert_eq!(before, input);
        assert_eq!(signature, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }

    #[test]
    fn the_header_contains_the_algorithm_once() {
        let header = Map::from_iter([("typ".to_owned(), "JWT".into())]);
        let signed = sign_with_secret(b"key", header, &serde_json::json!({"sub": "me"}));
        let parts: Vec<_> =
            signed.split('.').map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
        assert_eq!(parts[0], br#"{"alg":"HS256","typ":"JWT"}"#);
        assert_eq!(parts[1], br#"{"sub":"me"}"#);
        assert_eq!(parts[2].len(), 32);
    }
}
