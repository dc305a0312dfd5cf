use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use tower::{Service, ServiceExt, service_fn};
use tower_oauth2::jwt::SigningKey;
use tower_oauth2::{ClientAuth, Credentials, TokenEndpoint, TokenError, TokenRequest};

use super::{ENDPOINT, HttpRequest, HttpResponse, Jwt, answer, vectors};
use crate::support::{Api, SECRET};

/// How much a server's check of times allows for.
const LEEWAY: Duration = Duration::from_secs(10);

/// This machine's time, so many seconds from now.
fn moved(by: i64) -> SystemTime {
    let distance = Duration::from_secs(by.unsigned_abs());
    if by < 0 { SystemTime::now() - distance } else { SystemTime::now() + distance }
}

/// A token endpoint that lives in another time, by so many seconds, and takes assertions that are good
/// in its own.
#[derive(Clone)]
struct Elsewhen {
    offset: Arc<AtomicI64>,
    tells: Arc<AtomicBool>,
}

impl Elsewhen {
    fn new(offset: i64) -> Self {
        Self { offset: Arc::new(AtomicI64::new(offset)), tells: Arc::new(AtomicBool::new(true)) }
    }

    /// And tells nobody.
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

/// Asks again and again with the same credentials.
struct Client<S> {
    endpoint: TokenEndpoint<S>,
    credentials: Credentials,
}

impl<S> Client<S>
where
    TokenEndpoint<S>:
        Service<TokenRequest, Response = tower_oauth2::AccessToken, Error = TokenError> + Clone,
{
    fn new(http: S) -> Self {
        Self::with_auth(http, auth())
    }

    fn with_auth(http: S, auth: ClientAuth) -> Self {
        let credentials = Credentials::new(ENDPOINT, auth).unwrap();
        Self { endpoint: TokenEndpoint::new(http), credentials }
    }

    async fn ask(&self) -> Result<String, TokenError> {
        let request = TokenRequest::new(self.credentials.clone());
        let token = self.endpoint.clone().oneshot(request).await?;
        Ok(token.secret().to_owned())
    }
}

// W8
#[tokio::test(start_paused = true)]
async fn an_assertion_by_a_clock_that_is_off_is_made_anew_at_once_by_the_servers() {
    for offset in [300, -300, 40_000, -40_000] {
        let server = Elsewhen::new(offset).serve();
        let client = Client::new(server.clone());
        assert_eq!(client.ask().await.unwrap(), "t", "{offset}");
        assert_eq!(server.count(), 2);
        let (one, other) = (&server.requests()[0], &server.requests()[1]);
        assert_ne!(Jwt::of(one).await.claims["jti"], Jwt::of(other).await.claims["jti"]);

        // From then on the first one is right.
        assert_eq!(client.ask().await.unwrap(), "t");
        assert_eq!(client.ask().await.unwrap(), "t");
        assert_eq!(server.count(), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn secrets_in_assertions_go_by_the_servers_clock_too() {
    let server = Elsewhen::new(-300).serve();
    let auth = ClientAuth::client_secret_jwt("client-id", SECRET);
    Client::with_auth(server.clone(), auth).ask().await.unwrap();
    assert_eq!(server.count(), 2);
}

// W8
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_put_right_is_noticed() {
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
async fn a_clock_that_is_put_right_is_noticed_without_a_date_too() {
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

// W8: a date is believed only if a token comes of it.
#[tokio::test(start_paused = true)]
async fn a_server_with_a_wrong_date_and_a_right_clock_is_not_led_astray() {
    // Behind a proxy that dates its responses itself, and refuses for a while for another reason.
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
async fn rubbish_in_a_date_is_not_believed() {
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
async fn a_server_whose_date_wanders_is_asked_twice_and_no_more() {
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

// What is not about the time, or is no refusal, is not sent again.
#[tokio::test(start_paused = true)]
async fn only_a_refused_assertion_is_made_anew() {
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
    for off in [-25, 0, 25] {
        let server = Api::new(move |_| answer(401, Some(moved(off)), ""));
        Client::new(server.clone()).ask().await.unwrap_err();
        assert_eq!(server.count(), 1, "{off}");
    }
}

// W7
#[tokio::test(start_paused = true)]
async fn both_attempts_share_the_time_that_one_may_take() {
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
