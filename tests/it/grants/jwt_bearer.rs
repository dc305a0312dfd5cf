use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tower::{BoxError, ServiceExt};
use tower_oauth2::client_auth::Identity;
use tower_oauth2::grant::JwtBearer;
use tower_oauth2::jwt::{Algorithm, SignedJwt, Signer, SigningKey};
use tower_oauth2::source::TokenRetry;
use tower_oauth2::{
    ClientAuth, Credentials, Secret, TokenEndpoint, TokenErrorKind, TokenRequest, Tokens,
};

use super::{ENDPOINT, HttpRequest, answer, form, member};
use crate::jwt::{Jwt, vectors};
use crate::support::{Api, SECRET, single_try};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ROBOT: &str = "robot@project.test";

fn key() -> SigningKey {
    SigningKey::from_jwk(vectors::P256).unwrap()
}

fn jwt() -> SignedJwt {
    SignedJwt::new(key())
}

fn robot() -> JwtBearer {
    signed(jwt())
}

fn signed(jwt: SignedJwt) -> JwtBearer {
    JwtBearer::signed(ROBOT, jwt)
}

fn credentials(grant: JwtBearer) -> Credentials {
    with_client(ClientAuth::anonymous(), grant)
}

fn with_client(auth: ClientAuth, grant: JwtBearer) -> Credentials {
    Credentials::new(ENDPOINT, auth).unwrap().grant(grant)
}

async fn sent(credentials: Credentials) -> HttpRequest {
    let endpoint = Api::new(|_| answer(200, r#"{"access_token":"t"}"#));
    let source = single_try(endpoint.clone());
    source.oneshot(TokenRequest::new(credentials)).await.unwrap();
    endpoint.requests().remove(0)
}

async fn assertion(request: &HttpRequest) -> Jwt {
    Jwt::parse(member(&form(request).await, "assertion").unwrap())
}

fn names(form: &[(String, String)]) -> Vec<&str> {
    form.iter().map(|(name, _)| &**name).collect()
}

// RFC 7523 section 2.1
#[tokio::test]
async fn the_form_has_the_assertion_and_no_client() {
    let request = sent(credentials(robot()).scope("read")).await;
    let form = form(&request).await;
    assert_eq!(names(&form), ["assertion", "grant_type", "scope"]);
    assert_eq!(member(&form, "grant_type"), Some(GRANT_TYPE));
    assert!(!request.headers().contains_key("authorization"));
    let jwt = assertion(&request).await;
    assert!(jwt.is_signed_by(&key().public_jwk()));
    let claims = jwt.claims.as_object().unwrap();
    let claim_names: BTreeSet<_> = claims.keys().map(String::as_str).collect();
    assert_eq!(claim_names, BTreeSet::from(["aud", "exp", "iat", "iss", "jti", "sub"]));
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!(ROBOT), &json!(ROBOT)));
    assert_eq!(claims["aud"], ENDPOINT);
    assert_eq!(jwt.time("exp"), jwt.time("iat") + Duration::from_secs(75));
}

#[tokio::test]
async fn claims_can_be_set() {
    let jwt = jwt()
        .subject("alf@project.test")
        .audience("https://issuer.test")
        .lifetime(Duration::from_secs(3600))
        .claim("scope", "a b")
        .claim("groups", json!(["x", { "y": 1 }]))
        .claim("jti", Value::Null);
    let jwt = assertion(&sent(credentials(signed(jwt))).await).await;
    assert_eq!(jwt.time("exp"), jwt.time("iat") + Duration::from_secs(3600));
    let issued_at = jwt.claims["iat"].clone();
    let ends = jwt.claims["exp"].clone();
    assert_eq!(
        jwt.claims,
        json!({
            "iss": ROBOT, "sub": "alf@project.test", "aud": "https://issuer.test", "iat": issued_at,
            "exp": ends, "scope": "a b", "groups": ["x", { "y": 1 }],
        })
    );
    // Google requires an assertion without a subject.
    let jwt = assertion(&sent(credentials(signed(SignedJwt::new(key()).subject("")))).await).await;
    assert_eq!(jwt.claims.get("sub"), None);
}

// RFC 7521 section 4.1
#[tokio::test]
async fn the_client_may_authenticate_too() {
    let basic = ClientAuth::client_secret_basic("client-id", SECRET);
    let request = sent(with_client(basic, robot())).await;
    assert!(request.headers().contains_key("authorization"));
    assert_eq!(names(&form(&request).await), ["assertion", "grant_type"]);

    let credentials = with_client(ClientAuth::private_key_jwt("client-id", key()), robot());
    assert_eq!(credentials.client_id(), Some("client-id"));
    let request = sent(credentials).await;
    let form = form(&request).await;
    assert_eq!(member(&form, "grant_type"), Some(GRANT_TYPE));
    let client = Jwt::parse(member(&form, "client_assertion").unwrap());
    let grant = assertion(&request).await;
    assert_eq!((&client.claims["sub"], &grant.claims["sub"]), (&"client-id".into(), &ROBOT.into()));
    assert_ne!(client.claims["jti"], grant.claims["jti"]);
}

// G1, W8
#[tokio::test(start_paused = true)]
async fn each_attempt_has_its_own_assertion() {
    let endpoint = Api::new(|_| answer(503, ""));
    let source = TokenEndpoint::new(endpoint.clone()).retry(TokenRetry::new(4));
    let failed = source.oneshot(TokenRequest::new(credentials(robot()))).await.unwrap_err();
    assert_eq!(failed.status().unwrap(), 503);
    let mut seen = HashSet::new();
    for request in endpoint.requests() {
        assert!(seen.insert(member(&form(&request).await, "assertion").unwrap().to_owned()));
    }
    assert_eq!(seen.len(), 5);
}

// G1, W8
#[tokio::test]
async fn a_refused_grant_is_sent_again_by_the_servers_clock() {
    let ahead = SystemTime::now() + Duration::from_secs(600);
    let count = AtomicU64::new(0);
    let endpoint = Api::new(move |_| {
        let is_first = count.fetch_add(1, Ordering::Relaxed) == 0;
        let mut response = match is_first {
            true => answer(400, r#"{"error":"invalid_grant"}"#),
            false => answer(200, r#"{"access_token":"t"}"#),
        };
        let date = httpdate::fmt_http_date(ahead);
        response.headers_mut().insert("date", date.parse().unwrap());
        response
    });
    let source = single_try(endpoint.clone());
    source.oneshot(TokenRequest::new(credentials(robot()))).await.unwrap();
    let requests = endpoint.requests();
    assert_eq!(requests.len(), 2);
    let (first, second) = (assertion(&requests[0]).await, assertion(&requests[1]).await);
    assert!(first.time("iat") + Duration::from_secs(300) < ahead);
    assert!(second.time("iat") + Duration::from_secs(30) > ahead);
}

// S2
#[test]
fn every_setting_of_the_grant_is_compared() {
    let other_key = SigningKey::generate(Algorithm::ES256).unwrap();
    let secret = |secret: &str| ClientAuth::client_secret_basic("client-id", secret);
    let mut all: Vec<_> = [
        robot(),
        JwtBearer::signed("other@project.test", key()),
        JwtBearer::signed(ROBOT, other_key),
        JwtBearer::signed(ROBOT, key().with_kid("k")),
        signed(jwt().subject("alf")),
        signed(jwt().subject("alfred")),
        signed(jwt().subject("")),
        signed(jwt().audience("https://issuer.test")),
        signed(jwt().lifetime(Duration::from_secs(5))),
        signed(jwt().claim("scope", "a")),
        signed(jwt().claim("scope", "b")),
        signed(jwt().claim("scope", json!(["a"]))),
        signed(jwt().claim("scopea", "")),
        JwtBearer::assertion(ROBOT),
        JwtBearer::assertion(Secret::file(ROBOT)),
    ]
    .map(credentials)
    .into();
    let clients = [
        secret("1"),
        secret("2"),
        ClientAuth::client_secret_post("client-id", "1"),
        ClientAuth::none("client-id"),
    ];
    all.extend(clients.map(|auth| with_client(auth, robot())));
    for (n, one) in all.iter().enumerate() {
        for (m, other) in all.iter().enumerate() {
            assert_eq!(one == other, n == m, "{n} and {m}");
        }
    }
    let one = jwt().claim("a", 1).claim("b", 2);
    let other = jwt().claim("b", 2).claim("a", 1);
    assert_eq!(credentials(signed(one)), credentials(signed(other)));
}

struct Broken;

impl Signer for Broken {
    fn algorithm(&self) -> Algorithm {
        Algorithm::ES256
    }

    fn identify(&self, _: &mut Identity) {}

    async fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, BoxError> {
        Err("the KMS is away".into())
    }
}

/// A key with a version that a test sets.
struct Versioned(Arc<AtomicU64>);

impl Signer for Versioned {
    fn algorithm(&self) -> Algorithm {
        Algorithm::ES256
    }

    fn identify(&self, _: &mut Identity) {}

    fn version(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    async fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, BoxError> {
        Ok(vec![0; 64])
    }
}

#[tokio::test]
async fn nothing_is_sent_if_the_key_cannot_sign() {
    let endpoint = Api::always(200);
    let grant = JwtBearer::signed(ROBOT, Broken);
    let source = single_try(endpoint.clone());
    let error = source.oneshot(TokenRequest::new(credentials(grant))).await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::ClientAuthentication);
    assert!(error.is_transient());
    assert_eq!(endpoint.count(), 0);
}

// C9
#[tokio::test(start_paused = true)]
async fn a_new_key_or_client_secret_ends_the_back_off() {
    let (key, secret) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(1)));
    let in_secret = secret.clone();
    let text = Secret::from_fn("s", || async { Ok::<_, BoxError>("s") })
        .version(move || in_secret.load(Ordering::Relaxed));
    let auth = ClientAuth::client_secret_basic("client-id", text);
    let grant = JwtBearer::signed(ROBOT, Versioned(key.clone()));
    let endpoint = Api::new(|_| answer(401, r#"{"error":"invalid_client"}"#));
    let tokens = Tokens::new(with_client(auth, grant), single_try(endpoint.clone()));
    let is_sent_again = async |requests| {
        for _ in 0..2 {
            tokens.get().await.unwrap_err();
        }
        assert_eq!(endpoint.count(), requests);
    };
    is_sent_again(1).await;
    key.store(2, Ordering::Relaxed);
    is_sent_again(2).await;
    secret.store(2, Ordering::Relaxed);
    is_sent_again(3).await;
    key.store(1, Ordering::Relaxed);
    is_sent_again(4).await;
}

// X3
#[test]
fn debug_shows_no_secret() {
    let client = ClientAuth::client_secret_basic("client-id", SECRET);
    let grant = signed(jwt().subject("alf").claim("hint", SECRET));
    let shown = format!("{grant:?} {:?}", with_client(client, grant.clone()));
    for hidden in [SECRET, ROBOT, "alf"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
    let given = format!("{:?}", JwtBearer::assertion(SECRET));
    assert_eq!(given, "JwtBearer { assertion: Secret(**redacted**), .. }");
}
