use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tower::retry::RetryLayer;
use tower::{BoxError, Layer, ServiceExt};
use tower_oauth2::client_auth::ClientAuthentication;
use tower_oauth2::grant::{JwtBearer, RefreshToken, TokenExchange};
use tower_oauth2::jwt::{Algorithm, Signer, SigningKey};
use tower_oauth2::source::{RefreshTokenLayer, TokenRetry};
use tower_oauth2::{ClientAuth, Credentials, Secret, TokenEndpoint, TokenErrorKind, TokenRequest};

use super::{ENDPOINT, HttpRequest, answer, form, member};
use crate::assertion::{Jwt, vectors};
use crate::support::{Api, SECRET};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ROBOT: &str = "robot@project.test";

fn key() -> SigningKey {
    SigningKey::from_jwk(vectors::P256).unwrap()
}

fn robot() -> JwtBearer {
    JwtBearer::new(ROBOT, key())
}

fn credentials(grant: JwtBearer) -> Credentials {
    Credentials::new(ENDPOINT, ClientAuth::custom(grant)).unwrap()
}

async fn sent(credentials: Credentials) -> HttpRequest {
    let endpoint = Api::new(|_| answer(200, r#"{"access_token":"t"}"#));
    let source = TokenEndpoint::new(endpoint.clone());
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
async fn the_form_has_the_assertion_and_nothing_of_a_client() {
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
    assert_eq!(jwt.time("exp"), jwt.time("iat") + Duration::from_secs(60));
}

#[tokio::test]
async fn claims_are_as_they_are_set() {
    let grant = robot()
        .subject("alf@project.test")
        .audience("https://issuer.test")
        .lifetime(Duration::from_secs(3600))
        .claim("scope", "a b")
        .claim("groups", json!(["x", { "y": 1 }]))
        .claim("jti", Value::Null);
    let jwt = assertion(&sent(credentials(grant)).await).await;
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
    // As Google has it.
    let jwt = assertion(&sent(credentials(robot().subject(""))).await).await;
    assert_eq!(jwt.claims.get("sub"), None);
}

// RFC 7521 section 4.1
#[tokio::test]
async fn a_client_that_authenticates_besides_does_so_in_its_own_way() {
    let basic = ClientAuth::client_secret_basic("client-id", SECRET);
    let request = sent(credentials(robot().client_auth(basic))).await;
    assert!(request.headers().contains_key("authorization"));
    assert_eq!(names(&form(&request).await), ["assertion", "grant_type"]);

    let signed = ClientAuth::private_key_jwt("client-id", key());
    let grant = robot().client_auth(signed);
    assert_eq!(ClientAuthentication::client_id(&grant), Some("client-id"));
    let request = sent(credentials(grant)).await;
    let form = form(&request).await;
    assert_eq!(member(&form, "grant_type"), Some(GRANT_TYPE));
    let client = Jwt::parse(member(&form, "client_assertion").unwrap());
    let grant = assertion(&request).await;
    assert_eq!((&client.claims["sub"], &grant.claims["sub"]), (&"client-id".into(), &ROBOT.into()));
    assert_ne!(client.claims["jti"], grant.claims["jti"]);
}

// G1, W8
#[tokio::test(start_paused = true)]
async fn no_assertion_is_sent_twice_whatever_is_tried_again() {
    let endpoint = Api::new(|_| answer(503, ""));
    let source = RetryLayer::new(TokenRetry::new(4)).layer(TokenEndpoint::new(endpoint.clone()));
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
async fn an_assertion_goes_by_the_servers_clock_once_it_is_known_to_differ() {
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
    let source = TokenEndpoint::new(endpoint.clone());
    source.oneshot(TokenRequest::new(credentials(robot()))).await.unwrap();
    let requests = endpoint.requests();
    assert_eq!(requests.len(), 2);
    let (first, second) = (assertion(&requests[0]).await, assertion(&requests[1]).await);
    assert!(first.time("iat") + Duration::from_secs(300) < ahead);
    assert!(second.time("iat") + Duration::from_secs(30) > ahead);
}

// S2: whoever may not share a token differs.
#[test]
fn whatever_makes_the_token_what_it_is_tells_credentials_apart() {
    let other_key = SigningKey::generate(Algorithm::ES256).unwrap();
    let secret = |secret: &str| ClientAuth::client_secret_basic("client-id", secret);
    let all = [
        robot(),
        JwtBearer::new("other@project.test", key()),
        JwtBearer::new(ROBOT, other_key),
        JwtBearer::new(ROBOT, key().with_kid("k")),
        robot().subject("alf"),
        robot().subject("alfred"),
        robot().subject(""),
        robot().audience("https://issuer.test"),
        robot().claim("scope", "a"),
        robot().claim("scope", "b"),
        robot().claim("scope", json!(["a"])),
        robot().claim("scopea", ""),
        robot().client_auth(secret("1")),
        robot().client_auth(secret("2")),
        robot().client_auth(ClientAuth::client_secret_post("client-id", "1")),
        robot().client_auth(ClientAuth::none("client-id")),
    ]
    .map(credentials);
    for (n, one) in all.iter().enumerate() {
        for (m, other) in all.iter().enumerate() {
            assert_eq!(one == other, n == m, "{n} and {m}");
        }
    }
    let one = robot().claim("a", 1).claim("b", 2).lifetime(Duration::from_secs(5));
    assert_eq!(credentials(one), credentials(robot().claim("b", 2).claim("a", 1)));
}

struct Broken(Arc<AtomicU64>);

impl Signer for Broken {
    fn algorithm(&self) -> Algorithm {
        Algorithm::ES256
    }

    fn identity(&self) -> Vec<u8> {
        Vec::new()
    }

    fn version(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    async fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, BoxError> {
        Err("the KMS is away".into())
    }
}

#[tokio::test]
async fn a_key_that_can_not_sign_sends_nothing() {
    let endpoint = Api::always(200);
    let grant = JwtBearer::new(ROBOT, Broken(Arc::default()));
    let source = TokenEndpoint::new(endpoint.clone());
    let error = source.oneshot(TokenRequest::new(credentials(grant))).await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::ClientAuthentication);
    assert!(error.is_transient());
    assert_eq!(endpoint.count(), 0);
}

// The token of the JWT's subject would take the place of the user's, or the other way round.
// G6
#[tokio::test]
async fn an_assertion_and_another_grant_are_not_sent_together() {
    let endpoint = Api::always(200);
    let source = RefreshTokenLayer::new().layer(TokenEndpoint::new(endpoint.clone()));
    let exchange = TokenExchange::new("alf's own", TokenExchange::ACCESS_TOKEN).unwrap();
    for both in [
        credentials(robot()).token_exchange(exchange),
        credentials(robot()).refresh_token(RefreshToken::in_memory("alf", "granted")),
        credentials(robot()).parameter("grant_type", "password"),
    ] {
        let error = source.clone().oneshot(TokenRequest::new(both)).await.unwrap_err();
        assert_eq!(error.kind(), TokenErrorKind::ClientAuthentication);
        let why = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(why, "JWT bearer grant: can not go with another grant");
    }
    assert_eq!(endpoint.count(), 0);

    let api = Api::new(|_| answer(200, r#"{"access_token":"t"}"#));
    let said_twice = credentials(robot()).parameter("grant_type", GRANT_TYPE);
    TokenEndpoint::new(api).oneshot(TokenRequest::new(said_twice)).await.unwrap();
}

// C9
#[test]
fn the_version_changes_with_the_key_and_with_the_clients_secret() {
    let (key, secret) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(1)));
    let in_secret = secret.clone();
    let text = Secret::from_fn("s", || async { Ok::<_, BoxError>("s") })
        .version(move || in_secret.load(Ordering::Relaxed));
    let grant = JwtBearer::new(ROBOT, Broken(key.clone()))
        .client_auth(ClientAuth::client_secret_basic("client-id", text));
    let first = grant.version();
    assert_eq!(grant.version(), first);
    key.store(2, Ordering::Relaxed);
    let second = grant.version();
    assert_ne!(second, first);
    secret.store(2, Ordering::Relaxed);
    assert_ne!(grant.version(), second);
    // Not as they would be with one in the place of the other.
    key.store(1, Ordering::Relaxed);
    assert_ne!(grant.version(), second);
}

// X3
#[test]
fn nothing_of_it_is_shown() {
    let client = ClientAuth::client_secret_basic("client-id", SECRET);
    let grant = robot().subject("alf").claim("hint", SECRET).client_auth(client);
    let shown = format!("{grant:?} {:?}", credentials(grant.clone()));
    for hidden in [SECRET, ROBOT, "alf"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
    assert!(shown.contains("ClientAuth(jwt_bearer)"), "{shown}");
}
