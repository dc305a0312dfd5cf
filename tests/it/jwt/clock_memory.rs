//! The memory of clock offsets.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tower::ServiceExt;
use tower_oauth2::jwt::{DpopKey, SigningKey};
use tower_oauth2::{ClientAuth, Credentials, TokenEndpoint, TokenError, TokenRequest};

use super::{HttpRequest, Jwt, answer, vectors};
use crate::support::{Api, credentials_with, single_try};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;

const TOKEN: &str = r#"{"access_token":"t"}"#;
const INVALID_CLIENT: &str = r#"{"error":"invalid_client"}"#;

/// Returns this machine's time in so many seconds.
fn moved(by: i64) -> SystemTime {
    let distance = Duration::from_secs(by.unsigned_abs());
    if by < 0 { SystemTime::now() - distance } else { SystemTime::now() + distance }
}

/// Returns by how many seconds an assertion is ahead of this machine's clock.
fn ahead_of_us(request: &HttpRequest) -> i64 {
    let jwt = futures_util::FutureExt::now_or_never(Jwt::of(request)).unwrap();
    match (jwt.time("iat") + Duration::from_secs(15)).duration_since(SystemTime::now()) {
        Ok(ahead) => ahead.as_secs().try_into().unwrap(),
        Err(behind) => -i64::try_from(behind.duration().as_secs()).unwrap(),
    }
}

fn is_by_our_clock(request: &HttpRequest) -> bool {
    ahead_of_us(request).abs() <= 10
}

fn auth() -> ClientAuth {
    ClientAuth::private_key_jwt("client-id", SigningKey::from_jwk(vectors::P256).unwrap())
}

/// The responses in order: status, seconds by which `Date` is ahead, body.
type Script = Vec<(u16, Option<i64>, &'static str)>;

/// Creates a token endpoint whose responses are first those of a script.
///
/// After those it is honest: it accepts assertions by its own clock, which is this machine's, and
/// answers others with `refusal`.
fn forged(script: Script, refusal: u16) -> Api {
    let script = Mutex::new(script.into_iter());
    Api::new(move |request| {
        if let Some((status, ahead, body)) = script.lock().unwrap().next() {
            return answer(status, ahead.map(moved), body);
        }
        match is_by_our_clock(request) {
            true => answer(200, Some(moved(0)), TOKEN),
            false => answer(refusal, Some(moved(0)), INVALID_CLIENT),
        }
    })
}

/// Requests tokens with the same endpoint and credentials.
struct Client {
    endpoint: TokenEndpoint,
    credentials: Credentials,
}

impl Client {
    fn new(server: &Api) -> Self {
        Self { endpoint: single_try(server.clone()), credentials: credentials_with(auth()) }
    }

    async fn ask(&self) -> Result<(), TokenError> {
        self.ask_with(self.credentials.clone()).await
    }

    async fn ask_with(&self, credentials: Credentials) -> Result<(), TokenError> {
        self.endpoint.clone().oneshot(TokenRequest::new(credentials)).await.map(drop)
    }
}

// W8
#[tokio::test(start_paused = true)]
async fn a_forged_date_locks_no_client_out() {
    for refusal in [400, 401, 403, 422, 500] {
        for success in [r#"{"hello":"world"}"#, TOKEN] {
            let script = vec![(401, Some(20 * HOUR), INVALID_CLIENT), (200, None, success)];
            let server = forged(script, refusal);
            let client = Client::new(&server);
            let _ = client.ask().await;
            assert_eq!(server.count(), 2);
            // A refusal that contradicts the offset is the last one.
            let _ = client.ask().await;
            client.ask().await.unwrap();
            client.ask().await.unwrap();
        }
    }
}

// W8
#[tokio::test(start_paused = true)]
async fn a_date_that_stays_wrong_locks_no_client_out() {
    // A proxy dates the responses. The server checks no times at first, and does so later.
    for refusal in [400, 401, 403, 422, 500] {
        let script = vec![(401, Some(20 * HOUR), INVALID_CLIENT), (200, Some(20 * HOUR), TOKEN)];
        let script = Mutex::new(script.into_iter());
        let server = Api::new(move |request| {
            if let Some((status, ahead, body)) = script.lock().unwrap().next() {
                return answer(status, ahead.map(moved), body);
            }
            match is_by_our_clock(request) {
                true => answer(200, Some(moved(20 * HOUR)), TOKEN),
                false => answer(refusal, Some(moved(20 * HOUR)), INVALID_CLIENT),
            }
        });
        let client = Client::new(&server);
        client.ask().await.unwrap();
        let _ = client.ask().await;
        let _ = client.ask().await;
        client.ask().await.unwrap();
        client.ask().await.unwrap();
    }
}

// W8
#[tokio::test(start_paused = true)]
async fn an_offset_that_led_to_no_token_is_not_remembered() {
    for (status, body) in [
        (200, r#"{"hello":"world"}"#),
        (200, r#"{"error":"invalid_scope"}"#),
        (200, r#"{"access_token":"t","token_type":"mac"}"#),
        (200, "<html>"),
        (302, ""),
        (500, ""),
    ] {
        let script = vec![(401, Some(HOUR), INVALID_CLIENT), (status, Some(HOUR), body)];
        let server = forged(script, 401);
        let client = Client::new(&server);
        client.ask().await.unwrap_err();
        client.ask().await.unwrap();
        let requests = server.requests();
        assert_eq!(requests.len(), 3, "{status} {body}");
        assert!(is_by_our_clock(&requests[2]), "{status} {body}");
    }
}

// W8
#[tokio::test(start_paused = true)]
async fn an_offset_belongs_to_credentials_and_server() {
    let is_first = AtomicBool::new(true);
    let server = Api::new(move |_| match is_first.swap(false, Ordering::Relaxed) {
        true => answer(401, Some(moved(HOUR)), INVALID_CLIENT),
        false => answer(200, Some(moved(0)), TOKEN),
    });
    let client = Client::new(&server);
    client.ask().await.unwrap();
    // The offset is in use for these credentials, and for clones of them.
    client.ask().await.unwrap();
    assert!(!is_by_our_clock(&server.requests()[2]));

    let other_client =
        ClientAuth::private_key_jwt("other-client", SigningKey::from_jwk(vectors::P256).unwrap());
    for other in [
        credentials_with(other_client),
        client.credentials.clone().scope("other"),
        client.credentials.clone().parameter("tenant", "other"),
        Credentials::new("https://auth.test/other/token", auth()).unwrap(),
    ] {
        client.ask_with(other.clone()).await.unwrap();
        assert!(is_by_our_clock(server.requests().last().unwrap()), "{other:?}");
    }
}

// W8: RFC 9111 section 5.1
#[tokio::test(start_paused = true)]
async fn the_age_of_a_response_counts() {
    for (behind, age, sent) in [
        (HOUR, Some("3600"), 1),
        (HOUR, None, 2),
        (2 * HOUR, Some("3600"), 2),
        (0, Some("3600"), 2),
        // An age that cannot be read leaves the date without a meaning.
        (HOUR, Some("an hour"), 1),
        (HOUR, Some("-1"), 1),
        (HOUR, Some("99999999999999999999999"), 1),
    ] {
        let server = Api::new(move |_| {
            let mut response = answer(401, Some(moved(-behind)), INVALID_CLIENT);
            if let Some(age) = age {
                response.headers_mut().insert("age", age.parse().unwrap());
            }
            response
        });
        Client::new(&server).ask().await.unwrap_err();
        assert_eq!(server.count(), sent, "{behind} {age:?}");
    }
}

// W8
#[tokio::test(start_paused = true)]
async fn a_refusal_for_another_reason_is_not_sent_again() {
    for error in ["invalid_scope", "invalid_target", "unsupported_grant_type", "access_denied"] {
        let body = format!(r#"{{"error":"{error}"}}"#).leak();
        let server = Api::new(|_| answer(400, Some(moved(-2 * HOUR)), body));
        Client::new(&server).ask().await.unwrap_err();
        assert_eq!(server.count(), 1, "{error}");
    }
    for error in ["invalid_client", "invalid_grant", "invalid_request"] {
        let body = format!(r#"{{"error":"{error}"}}"#).leak();
        let server = Api::new(|_| answer(400, Some(moved(-2 * HOUR)), body));
        Client::new(&server).ask().await.unwrap_err();
        assert_eq!(server.count(), 2, "{error}");
    }
}

// W8, W10
#[tokio::test(start_paused = true)]
async fn assertions_and_proofs_share_an_offset() {
    let server = forged(vec![(401, Some(HOUR), INVALID_CLIENT)], 200);
    let credentials = credentials_with(auth()).dpop(DpopKey::generate().unwrap());
    let _ = Client::new(&server).ask_with(credentials).await;
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    for (request, ahead) in requests.iter().zip([0, HOUR]) {
        let proof = Jwt::parse(request.headers()["dpop"].to_str().unwrap());
        let iat = proof.time("iat");
        assert!(iat >= moved(ahead - 10) && iat <= moved(ahead + 10), "{iat:?}");
    }
}
