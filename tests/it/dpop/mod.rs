//! Tests proofs of possession (DPoP) with an API that verifies each. Other servers verify them in
//! `tests/interop`.

mod clocks;
mod nonces;
mod proofs;
mod tokens;

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};
use serde_json::Value;
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_oauth2::jwt::{Algorithm, DpopKey, SigningKey};
use tower_oauth2::replay::{NotReplayed, ReplayBody, ReplayPolicy, ReplayableLayer, Replayed};
use tower_oauth2::store::{MemoryStore, TokenStoreLayer};
use tower_oauth2::{
    AccessToken, ClientAuth, Credentials, NoToken, OAuth2, OAuth2Layer, Origins, RequestExt,
    TokenCache, TokenEndpoint, TokenError, TokenErrorKind, TokenRequest, Tokens,
};

use crate::support::*;

/// A verified proof.
#[derive(Clone, Debug)]
struct Proof {
    header: Value,
    claims: Value,
}

impl Proof {
    /// Verifies the only proof of a request: signature, type, and a public key.
    fn of<B>(request: &Request<B>) -> Self {
        let fields: Vec<_> = request.headers().get_all("dpop").iter().collect();
        let [field] = fields[..] else { panic!("{} proofs", fields.len()) };
        assert!(field.is_sensitive());
        let proof = Self::parse(field.to_str().unwrap());
        assert_eq!(proof.claims["htm"], request.method().as_str());
        proof
    }

    fn parse(text: &str) -> Self {
        let (input, signature) = text.rsplit_once('.').unwrap();
        let (header, claims) = input.split_once('.').unwrap();
        let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
        let json = |text| serde_json::from_slice::<Value>(&decode(text)).unwrap();
        let (header, claims) = (json(header), json(claims));
        assert_eq!(header["typ"], "dpop+jwt");
        let jwk = header["jwk"].as_object().unwrap();
        assert!(!jwk.contains_key("d"));
        let part = |name| decode(jwk[name].as_str().unwrap());
        let signature = decode(signature);
        match header["alg"].as_str().unwrap() {
            "ES256" => {
                let key = [vec![4], part("x"), part("y")].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
                    .verify(input.as_bytes(), &signature)
                    .unwrap();
            }
            "EdDSA" => UnparsedPublicKey::new(&ED25519, part("x"))
                .verify(input.as_bytes(), &signature)
                .unwrap(),
            other => panic!("{other}"),
        }
        Self { header, claims }
    }

    /// Returns the thumbprint of an EC key (RFC 7638 section 3).
    fn thumbprint(&self) -> String {
        let Value::Object(jwk) = &self.header["jwk"] else { panic!("{}", self.header) };
        let required = ["crv", "kty", "x", "y"].map(|name| format!(r#""{name}":{}"#, jwk[name]));
        let required = format!("{{{}}}", required.join(","));
        let hash = ring::digest::digest(&ring::digest::SHA256, required.as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(hash)
    }

    /// Returns the names of the members of header, key and claims.
    fn names(&self) -> [BTreeSet<String>; 3] {
        [&self.header, &self.header["jwk"], &self.claims]
            .map(|object| object.as_object().unwrap().keys().cloned().collect())
    }

    fn nonce(&self) -> Option<&str> {
        self.claims.get("nonce").map(|nonce| nonce.as_str().unwrap())
    }
}

fn token<B>(request: &Request<B>) -> &str {
    let value = request.headers()[AUTHORIZATION].to_str().unwrap();
    value.strip_prefix("DPoP ").expect("a token that is bound to a key")
}

fn proofs(api: &Api) -> Vec<Proof> {
    let proofs: Vec<_> = api.requests().iter().map(Proof::of).collect();
    let ids: HashSet<_> = proofs.iter().map(|proof| proof.claims["jti"].to_string()).collect();
    assert_eq!(ids.len(), proofs.len(), "no proof is used twice");
    proofs
}

fn bound(n: usize) -> AccessToken {
    AccessToken::dpop(format!("token-{n}")).unwrap().with_expires_in(Duration::from_secs(3600))
}

fn with_key(key: DpopKey) -> Credentials {
    credentials().dpop(key)
}

fn layer(source: &ScriptedSource) -> OAuth2Layer {
    let credentials = with_key(DpopKey::generate().unwrap());
    let tokens = Tokens::new(credentials, source.clone());
    OAuth2Layer::new(tokens, Origins::only(["https://api.test"]).unwrap())
}

fn client(source: &ScriptedSource, api: &Api) -> OAuth2<Api> {
    layer(source).layer(api.clone())
}

fn reply(status: u16, fields: &[(&str, &str)]) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in fields {
        let name: http::HeaderName = name.parse().unwrap();
        response.headers_mut().append(name, value.parse().unwrap());
    }
    response
}

const NONCE_WANTED: &str = r#"DPoP algs="ES256", error="use_dpop_nonce""#;

/// Creates an API that requires `nonce`, and a token that it accepts.
fn with_nonce(
    nonce: impl Fn() -> String + Send + Sync + 'static,
    accepts: impl Fn(&str) -> bool + Send + Sync + 'static,
) -> Api {
    Api::new(move |request| {
        let nonce = nonce();
        if Proof::of(request).nonce() != Some(&nonce) {
            return reply(401, &[("www-authenticate", NONCE_WANTED), ("dpop-nonce", &nonce)]);
        }
        let status = if accepts(token(request)) { 200 } else { 401 };
        reply(status, &[("dpop-nonce", &nonce)])
    })
}

async fn call<S>(service: &S, request: Request<Full<Bytes>>) -> Response<Full<Bytes>>
where
    S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>> + Clone,
    S::Error: std::fmt::Debug,
{
    service.clone().oneshot(request).await.unwrap()
}
