//! JWTs that are signed here: keys, signatures, claims and clocks.

mod audience;
mod certificates;
mod clock_memory;
mod clocks;
mod jwk;
mod key_files;
mod pem;
mod refusals;
mod self_signed;
mod sent;
mod signatures;
pub mod vectors;

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey,
    VerificationAlgorithm,
};
use serde_json::Value;

type HttpRequest = Request<Full<Bytes>>;
type HttpResponse = Response<Full<Bytes>>;

const ENDPOINT: &str = "https://auth.test/token";

fn decode(text: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn answer(status: u16, date: Option<SystemTime>, body: &'static str) -> HttpResponse {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    if let Some(date) = date {
        let date = httpdate(date);
        response.headers_mut().insert("date", date.parse().unwrap());
    }
    response
}

/// Formats a `Date` (RFC 9110 section 5.6.7).
fn httpdate(date: SystemTime) -> String {
    httpdate::fmt_http_date(date)
}

/// Returns the form of a token request.
async fn form(request: &HttpRequest) -> Vec<(String, String)> {
    let body = request.clone().into_body().collect().await.unwrap().to_bytes();
    form_urlencoded::parse(&body).into_owned().collect()
}

fn member<'a>(form: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut values = form.iter().filter(|(known, _)| known == name).map(|(_, value)| &**value);
    let value = values.next();
    assert_eq!(values.next(), None, "{name} is there twice");
    value
}

/// The parts of a JWT.
pub struct Jwt {
    pub header: Value,
    pub claims: Value,
    input: String,
    signature: Vec<u8>,
}

impl Jwt {
    pub fn parse(text: &str) -> Self {
        let parts: Vec<_> = text.split('.').collect();
        let [header, claims, signature] = *parts else { panic!("{text}") };
        Self {
            header: serde_json::from_slice(&decode(header)).unwrap(),
            claims: serde_json::from_slice(&decode(claims)).unwrap(),
            input: format!("{header}.{claims}"),
            signature: decode(signature),
        }
    }

    /// Returns the assertion in a token request.
    async fn of(request: &HttpRequest) -> Self {
        let form = form(request).await;
        assert_eq!(
            member(&form, "client_assertion_type"),
            Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
        );
        Self::parse(member(&form, "client_assertion").unwrap())
    }

    pub fn time(&self, claim: &str) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.claims[claim].as_u64().unwrap())
    }

    pub fn is_signed_by(&self, public_jwk: &Value) -> bool {
        let algorithm = self.header["alg"].as_str().unwrap();
        verifies(public_jwk, algorithm, self.input.as_bytes(), &self.signature)
    }
}

/// Verifies `signature` with the public part of a key.
fn verifies(public_jwk: &Value, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
    let part = |name: &str| decode(public_jwk[name].as_str().unwrap());
    let curve = public_jwk["crv"].as_str();
    let (how, key): (&'static dyn VerificationAlgorithm, _) = match (algorithm, curve) {
        ("ES256", Some("P-256")) => {
            (&ECDSA_P256_SHA256_FIXED, [vec![4], part("x"), part("y")].concat())
        }
        ("ES384", Some("P-384")) => {
            (&ECDSA_P384_SHA384_FIXED, [vec![4], part("x"), part("y")].concat())
        }
        ("EdDSA", Some("Ed25519")) => (&ED25519, part("x")),
        (rsa, None) => {
            let padding = match rsa {
                "RS256" => &RSA_PKCS1_2048_8192_SHA256,
                "RS384" => &RSA_PKCS1_2048_8192_SHA384,
                "RS512" => &RSA_PKCS1_2048_8192_SHA512,
                "PS256" => &RSA_PSS_2048_8192_SHA256,
                "PS384" => &RSA_PSS_2048_8192_SHA384,
                "PS512" => &RSA_PSS_2048_8192_SHA512,
                _ => panic!("{algorithm} with {public_jwk}"),
            };
            let key = RsaPublicKeyComponents { n: part("n"), e: part("e") };
            return key.verify(padding, message, signature).is_ok();
        }
        _ => panic!("{algorithm} with {public_jwk}"),
    };
    UnparsedPublicKey::new(how, key).verify(message, signature).is_ok()
}
