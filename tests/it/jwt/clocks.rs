use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use tower::{ServiceExt, service_fn};
use tower_oauth2::jwt::{SignedJwt, SigningKey};
use tower_oauth2::source::HttpClient;
use tower_oauth2::{ClientAuth, Credentials, TokenEndpoint, TokenError, TokenRequest};

use super::{ENDPOINT, HttpRequest, HttpResponse, Jwt, answer, vectors};
use crate::support::{Api, SECRET, single_try};

/// The tolerance of a server that checks times.
const LEEWAY: Duration = Duration::from_secs(10);

/// Returns this machine's time in so many seconds.
fn moved(by: i64) -> SystemTime {
    let distance = Duration::from_secs(by.unsigned_abs());
    if by < 0 { SystemTime::now() - distance } else { SystemTime::now() + distance }
}

/// A token endpoint whose clock is ahead by so many seconds. It accepts assertions by its own
/// clock.
#[derive(Clone)]
struct Elsewhen {
    offset: Arc<AtomicI64>,
    tells: Arc<AtomicBool>,
}

impl Elsewhen {
    fn new(offset: i64) -> Self {
        Self { offset: Arc::new(AtomicI64::new(offset)), tells: Arc::new(AtomicBool::new(true)) }
    }

    /// Creates an endpoint that sends no `Date`.
    fn silent(offset: i64) -> Self {
        Self { tells: Arc::default(), ..Self::new(offset) }
    }

    fn serve(&self) -> Api {
        let this = self.clone();
        Api::new(move |request| {
            let now = moved(this.offset.load(Ordering::Relaxed));
            let jwt = futures_util::FutureExt::now_or_never(Jwt::of(request)).unwrap();
            let is_good = jwt.time("iat") <= now + LEEWAY && jwt.time("exp") >= now - LEEWAY;
            let date = this.tells.load(Ordering::Relaxed).then_some(now);
            if is_good {
                answer(200, date, r#"{"access_token":"t"}"#)
            } else {
                answer(401, date, r#"{"error":"invalid_client"}"#)
            }
        })
    }
}

fn auth() -> ClientAuth {
    ClientAuth::private_key_jwt("client-id", SigningKey::from_jwk(vectors::P256).unwrap())
}

/// Requests tokens with the same credentials.
struct Client {
    endpoint: TokenEndpoint,
    credentials: Credentials,
}

impl Client {
    fn new<M>(http: impl HttpClient<M>) -> Self {
        Self::with_auth(http, auth())
    }

    fn with_auth<M>(http: impl HttpClient<M>, auth: ClientAuth) -> Self {
        let credentials = Credentials::new(ENDPOINT, auth).unwrap();
        Self { endpoint: single_try(http), credentials }
    }

    async fn ask(&self) -> Result<String, TokenError> {
        let request = TokenRequest::new(self.credentials.clone());
        let token = self.endpoint.clone().oneshot(request).await?;
        Ok(token.secret().to_owned())
    }
}

// W8
#[tokio::test(start_paused = true)]
async fn a_refused_assertion_is_sent_again_by_the_servers_clock() {
    for offset in [300, -300, 40_000, -40_000] {
        let server = Elsewhen::new(offset).serve();
        let client = Client::new(server.clone());
        assert_eq!(client.ask().await.unwrap(), "t", "{offset}");
        assert_eq!(server.count(), 2);
        let (one, other) = (&server.requests()[0], &server.requests()[1]);
        assert_ne!(Jwt::of(one).await.claims["jti"], Jwt::of(other).await.claims["jti"]);

        // From then on, the first assertion is accepted.
        assert_eq!(client.ask().await.unwrap(), "t");
        assert_eq!(client.ask().await.unwrap(), "t");
        assert_eq!(server.count(), 4);
    }
}

// W8
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_a_little_behind_refuses_nothing() {
    // The tolerances of Keycloak: for client authentication, and for the JWT bearer grant.
    for (behind, leeway) in [(20, 15), (5, 0)] {
        let server = Api::new(move |request| {
            let jwt = futures_util::FutureExt::now_or_never(Jwt::of(request)).unwrap();
            let is_past = |claim| jwt.time(claim) <= moved(leeway - behind);
            match is_past("iat") && is_past("nbf") && jwt.time("exp") > moved(-behind) {
                true => answer(200, None, r#"{"access_token":"t"}"#),
                false => answer(401, None, r#"{"error":"invalid_client"}"#),
            }
        });
        let key = SigningKey::from_jwk(vectors::P256).unwrap();
        let auth = ClientAuth::private_key_jwt("client-id", SignedJwt::new(key).not_before());
        assert_eq!(Client::with_auth(server.clone(), auth).ask().await.unwrap(), "t", "{behind}");
        assert_eq!(server.count(), 1);
    }
}

// W8
#[tokio::test(start_paused = true)]
async fn a_difference_of_ten_seconds_is_corrected() {
    for offset in [-11, 11] {
        let server = Api::new(move |request| {
            let jwt = futures_util::FutureExt::now_or_never(Jwt::of(request)).unwrap();
            let iat = jwt.time("iat") + Duration::from_secs(15);
            match moved(offset - 3) <= iat && iat <= moved(offset + 3) {
                true => answer(200, Some(moved(offset)), r#"{"access_token":"t"}"#),
                false => answer(400, Some(moved(offset)), r#"{"error":"invalid_grant"}"#),
            }
        });
        let client = Client::new(server.clone());
        assert_eq!(client.ask().await.unwrap(), "t", "{offset}");
        assert_eq!(client.ask().await.unwrap(), "t", "{offset}");
        assert_eq!(server.count(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn client_secret_jwt_uses_the_servers_clock_too() {
    let server = Elsewhen::new(-300).serve();
    let auth = ClientAuth::client_secret_jwt("client-id", SECRET);
    Client::with_auth(server.clone(), auth).ask().await.unwrap();
    assert_eq!(server.count(), 2);
}

// W8
#[tokio::test(start_paused = true)]
async fn a_corrected_clock_is_noticed() {
    let elsewhen = Elsewhen::new(-300);
    let server = elsewhen.serve();
    let client = Client::new(server.clone());
    client.ask().await.unwrap();
    elsewhen.offset.store(0, Ordering::Relaxed);
    client.ask().await.unwrap();
    assert_eq!(server.count(), 4);
    client.ask().await.unwrap();
    assert_eq!(server.count(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_corrected_clock_is_noticed_without_a_date_too() {
    let elsewhen = Elsewhen::new(-300);
    let server = elsewhen.serve();
    let client = Client::new(server.clone());
    client.ask().await.unwrap();
    elsewhen.offset.store(0, Ordering::Relaxed);
    elsewhen.tells.store(false, Ordering::Relaxed);
    client.ask().await.unwrap_err();
    client.ask().await.unwrap();
    assert_eq!(server.count(), 4);
}

#[tokio::test(start_paused = true)]
async fn without_a_date_there_is_one_attempt() {
    let server = Elsewhen::silent(-300).serve();
    let error = Client::new(server.clone()).ask().await.unwrap_err();
    assert_eq!(error.error_code(), Some("invalid_client"));
    assert_eq!(server.count(), 1);
}

// W8: a date is believed only if it leads to a token.
#[tokio::test(start_paused = true)]
async fn a_date_that_leads_to_no_token_is_ignored() {
    // A proxy dates the responses. The server refuses twice for another reason.
    let refuses = Arc::new(AtomicI64::new(2));
    let its = refuses.clone();
    let server = Api::new(move |request| {
        let jwt = futures_util::FutureExt::now_or_never(Jwt::of(request)).unwrap();
        let is_good = jwt.time("iat") <= moved(10) && jwt.time("exp") >= moved(-10);
        if is_good && its.fetch_sub(1, Ordering::Relaxed) <= 0 {
            answer(200, Some(moved(7200)), r#"{"access_token":"t"}"#)
        } else {
            answer(401, Some(moved(7200)), r#"{"error":"invalid_client"}"#)
        }
    });
    let client = Client::new(server.clone());
    for requests in [2, 4] {
        assert!(client.ask().await.is_err());
        assert_eq!(server.count(), requests);
    }
    for requests in [5, 6] {
        assert_eq!(client.ask().await.unwrap(), "t");
        assert_eq!(server.count(), requests);
    }
}

fn dated(status: u16, date: &str) -> HttpResponse {
    let mut response = answer(status, None, r#"{"error":"invalid_client"}"#);
    response.headers_mut().insert("date", http::HeaderValue::from_bytes(date.as_bytes()).unwrap());
    response
}

// W8
#[tokio::test(start_paused = true)]
async fn a_malformed_date_is_ignored() {
    for date in [
        "",
        "now",
        "0",
        "99999999999999999999",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Fri, 99 Foo 2026 99:99:99 GMT",
        "\u{fd}\u{fe}",
    ] {
        let server = Api::new(|_| dated(401, date));
        Client::new(server.clone()).ask().await.unwrap_err();
        assert_eq!(server.count(), 1, "{date}");
        for request in server.requests() {
            assert!(Jwt::of(&request).await.time("exp") < moved(120));
        }
    }
}

// W8
#[tokio::test(start_paused = true)]
async fn a_server_whose_date_changes_gets_two_attempts() {
    let count = AtomicI64::new(1);
    let server = Api::new(move |_| {
        let hours = count.fetch_add(1, Ordering::Relaxed);
        answer(400, Some(moved(3600 * (hours % 20))), r#"{"error":"invalid_request"}"#)
    });
    let client = Client::new(server.clone());
    for calls in 1..=5 {
        client.ask().await.unwrap_err();
        assert_eq!(server.count(), 2 * calls);
    }
}

// W8
#[tokio::test(start_paused = true)]
async fn only_a_refused_assertion_is_sent_again() {
    let server = Api::new(|_| answer(401, Some(moved(-7200)), ""));
    for auth in [
        ClientAuth::client_secret_basic("client-id", SECRET),
        ClientAuth::client_assertion("client-id", "made.by.others"),
        ClientAuth::none("client-id"),
    ] {
        Client::with_auth(server.clone(), auth).ask().await.unwrap_err();
    }
    assert_eq!(server.count(), 3);
    for status in [302, 403, 404, 429, 500, 503] {
        let server = Api::new(move |_| answer(status, Some(moved(-7200)), ""));
        Client::new(server.clone()).ask().await.unwrap_err();
        assert_eq!(server.count(), 1, "{status}");
    }
    for off in [-9, 0, 9] {
        let server = Api::new(move |_| answer(401, Some(moved(off)), ""));
        Client::new(server.clone()).ask().await.unwrap_err();
        assert_eq!(server.count(), 1, "{off}");
    }
}

// W7
#[tokio::test(start_paused = true)]
async fn both_attempts_share_one_timeout() {
    let http = service_fn(|_: HttpRequest| async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        Ok::<_, tower::BoxError>(answer(401, Some(moved(-7200)), ""))
    });
    let started = tokio::time::Instant::now();
    let error = Client::new(http).ask().await.unwrap_err();
    assert_eq!(error.kind(), tower_oauth2::TokenErrorKind::Timeout);
    assert_eq!(started.elapsed(), Duration::from_secs(30));
}

// R5, W7: one connection at a time is enough.
#[tokio::test(start_paused = true)]
async fn the_second_attempt_needs_no_second_connection() {
    let server = Elsewhen::new(300).serve();
    let http = tower::ServiceBuilder::new().concurrency_limit(1).service(server.clone());
    Client::new(http).ask().await.unwrap();
    assert_eq!(server.count(), 2);
}
