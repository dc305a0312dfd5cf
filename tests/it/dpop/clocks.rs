//! Tests the clock that proofs use.

use std::time::SystemTime;

use super::*;

const HOUR: i64 = 3600;

const INVALID_PROOF: &str = r#"DPoP error="invalid_dpop_proof""#;
const INVALID_TOKEN: &str = r#"DPoP error="invalid_token""#;

/// Returns the time of this machine's clock, moved by `by` seconds.
fn moved(by: i64) -> SystemTime {
    let distance = Duration::from_secs(by.unsigned_abs());
    if by < 0 { SystemTime::now() - distance } else { SystemTime::now() + distance }
}

fn date(by: i64) -> String {
    httpdate::fmt_http_date(moved(by))
}

/// Returns whether a proof's time is `ahead` seconds ahead of this machine's clock.
fn is_by_clock(request: &Request<Full<Bytes>>, ahead: i64) -> bool {
    let iat = Proof::of(request).claims["iat"].as_u64().unwrap();
    let iat = std::time::UNIX_EPOCH + Duration::from_secs(iat);
    iat >= moved(ahead - 10) && iat <= moved(ahead + 10)
}

fn refusal(status: u16, challenge: &str, ahead: Option<i64>) -> Response<Full<Bytes>> {
    let mut response = reply(status, &[("www-authenticate", challenge)]);
    if let Some(ahead) = ahead {
        response.headers_mut().insert("date", date(ahead).parse().unwrap());
    }
    response
}

// W10
#[tokio::test(start_paused = true)]
async fn a_forged_date_does_not_make_later_proofs_fail() {
    for ahead in [Some(0), None, Some(20 * HOUR)] {
        for (status, challenge) in
            [(401, INVALID_TOKEN), (403, ""), (422, ""), (500, ""), (401, INVALID_PROOF)]
        {
            let first = AtomicUsize::new(0);
            let api = Api::new(move |request| {
                if first.fetch_add(1, Ordering::SeqCst) == 0 {
                    return refusal(401, INVALID_PROOF, Some(20 * HOUR));
                }
                match is_by_clock(request, 0) {
                    true => reply(200, &[("date", &date(0))]),
                    false => refusal(status, challenge, ahead),
                }
            });
            let source = ScriptedSource::tokens(bound);
            let service = client(&source, &api);
            call(&service, get("/")).await;
            for _ in 0..2 {
                let response = call(&service, get("/")).await;
                assert_eq!(response.status(), 200, "{status} {challenge} {ahead:?}");
            }
            assert!(source.count() <= 2);
        }
    }
}

// W10
#[tokio::test(start_paused = true)]
async fn a_date_that_stays_wrong_does_not_make_later_proofs_fail() {
    // A proxy dates the responses. The API checks no times at first, and does so later.
    for (status, challenge) in [(401, INVALID_TOKEN), (403, ""), (500, "")] {
        let count = AtomicUsize::new(0);
        let api = Api::new(move |request| {
            match count.fetch_add(1, Ordering::SeqCst) {
                0 => return refusal(401, INVALID_PROOF, Some(HOUR)),
                1 => return reply(200, &[("date", &date(HOUR))]),
                _ => {}
            }
            match is_by_clock(request, 0) {
                true => reply(200, &[("date", &date(HOUR))]),
                false => refusal(status, challenge, Some(HOUR)),
            }
        });
        let source = ScriptedSource::tokens(bound);
        let service = client(&source, &api);
        assert_eq!(call(&service, get("/")).await.status(), 200);
        call(&service, get("/")).await;
        call(&service, get("/")).await;
        for _ in 0..2 {
            assert_eq!(call(&service, get("/")).await.status(), 200, "{status} {challenge}");
        }
    }
}

// W10
#[tokio::test(start_paused = true)]
async fn an_offset_survives_a_nonce_and_a_revoked_token() {
    // The API's clock is an hour ahead. It requires a nonce, and accepts the second token only
    // later.
    let count = AtomicUsize::new(0);
    let api = Api::new(move |request| {
        if !is_by_clock(request, HOUR) {
            return refusal(401, INVALID_PROOF, Some(HOUR));
        }
        let later = count.fetch_add(1, Ordering::SeqCst) > 0;
        if later && Proof::of(request).nonce() != Some("n") {
            let mut response = refusal(401, NONCE_WANTED, Some(HOUR));
            response.headers_mut().insert("dpop-nonce", "n".parse().unwrap());
            return response;
        }
        match later && token(request) == "token-1" {
            true => refusal(401, INVALID_TOKEN, Some(HOUR)),
            false => reply(200, &[("date", &date(HOUR))]),
        }
    });
    let source = ScriptedSource::tokens(bound);
    let service = client(&source, &api);
    assert_eq!((call(&service, get("/")).await.status().as_u16(), api.count()), (200, 2));
    assert_eq!((call(&service, get("/")).await.status().as_u16(), api.count()), (200, 5));
    assert_eq!((call(&service, get("/")).await.status().as_u16(), api.count()), (200, 6));
    assert_eq!(source.count(), 2);
}

// W10
#[tokio::test(start_paused = true)]
async fn credentials_with_one_key_share_no_offset() {
    let api = Api::new(|request| match request.headers()["x-tenant"].to_str().unwrap() {
        "first" if !is_by_clock(request, HOUR) => refusal(401, INVALID_PROOF, Some(HOUR)),
        _ => reply(200, &[("date", &date(0))]),
    });
    let source = ScriptedSource::tokens(bound);
    let cache = TokenCache::new(source);
    let first = with_key(DpopKey::generate().unwrap());
    let second = cache.tokens(&first.clone().scope("second"));
    let first = cache.tokens(&first);
    let layer = OAuth2Layer::per_request(Origins::only(["https://api.test"]).unwrap());
    let service = layer.layer(api.clone());
    for (tenant, tokens) in [("first", &first), ("second", &second)] {
        let mut request = get("/").tokens(tokens);
        request.headers_mut().insert("x-tenant", tenant.parse().unwrap());
        assert_eq!(call(&service, request).await.status(), 200);
    }
    let requests = api.requests();
    assert_eq!(requests.len(), 3);
    assert!(is_by_clock(&requests[1], HOUR));
    assert!(is_by_clock(&requests[2], 0), "used the offset of other credentials");
}

/// Returns the time in a proof, in seconds ahead of this machine's clock.
fn ahead(request: &Request<Full<Bytes>>) -> i64 {
    let iat = Proof::of(request).claims["iat"].as_i64().unwrap();
    let now = SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    iat - i64::try_from(now.as_secs()).unwrap()
}

/// Creates a token endpoint with another clock, behind a proxy that dates the responses.
fn endpoint_ahead_by(seconds: i64, error: &'static str) -> Api {
    Api::new(move |request| {
        let mut response = match (ahead(request) - seconds).abs() <= 3 {
            true => Response::new(Full::from(
                r#"{"access_token":"t","token_type":"DPoP","expires_in":60}"#,
            )),
            false => {
                let mut response = reply(400, &[]);
                *response.body_mut() = Full::from(error);
                response
            }
        };
        response.headers_mut().insert("date", date(seconds).parse().unwrap());
        response
    })
}

// W8, W10: Keycloak answers a proof whose time it refuses with `invalid_request`.
#[tokio::test(start_paused = true)]
async fn a_stale_proof_for_a_token_endpoint_is_corrected() {
    for error in [r#"{"error":"invalid_dpop_proof"}"#, r#"{"error":"invalid_request"}"#] {
        for seconds in [12, -12] {
            let endpoint = endpoint_ahead_by(seconds, error);
            let credentials = with_key(DpopKey::generate().unwrap());
            for requests in [2, 3] {
                let request = TokenRequest::new(credentials.clone());
                single_try(endpoint.clone()).oneshot(request).await.unwrap();
                assert_eq!(endpoint.count(), requests, "{error} {seconds}");
            }
            // The time is not set back: some servers accept an age of 20 s at most.
            assert!(ahead(&endpoint.requests()[0]).abs() <= 1);
        }
    }
}

// W10
#[tokio::test(start_paused = true)]
async fn another_refusal_of_a_token_endpoint_changes_no_clock() {
    for error in [r#"{"error":"invalid_scope"}"#, r#"{"error":"invalid_client"}"#] {
        let endpoint = endpoint_ahead_by(HOUR, error);
        let credentials = with_key(DpopKey::generate().unwrap());
        for requests in [1, 2] {
            let request = TokenRequest::new(credentials.clone());
            single_try(endpoint.clone()).oneshot(request).await.unwrap_err();
            assert_eq!(endpoint.count(), requests, "{error}");
        }
    }
    // An API refuses nothing but a proof for its time.
    let api = Api::new(|_| refusal(400, r#"DPoP error="invalid_request""#, Some(HOUR)));
    let source = ScriptedSource::tokens(bound);
    assert_eq!(call(&client(&source, &api), get("/")).await.status(), 400);
    assert_eq!(api.count(), 1);
}
