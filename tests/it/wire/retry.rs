use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use tower::retry::RetryLayer;
use tower::timeout::TimeoutLayer;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_oauth2::source::{Backoff, TokenRetry};
use tower_oauth2::{
    AccessToken, OAuth2Layer, Origins, TokenCache, TokenEndpoint, TokenError, TokenErrorKind,
    TokenRequest,
};

use crate::support::*;

/// The clock of tokio counts whole milliseconds.
const TICK: Duration = Duration::from_millis(2);

fn answer(status: u16, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(body.into())).unwrap()
}

fn good() -> Response<Full<Bytes>> {
    answer(200, r#"{"access_token":"t"}"#)
}

async fn asked(retry: TokenRetry, http: &Http) -> Result<AccessToken, TokenError> {
    let source = RetryLayer::new(retry).layer(TokenEndpoint::new(http.clone()));
    source.oneshot(TokenRequest::new(credentials())).await
}

/// The same under a timeout of tower's, whose error is a box.
async fn asked_in_a_box(retry: TokenRetry, http: &Http) -> Result<AccessToken, BoxError> {
    let source = ServiceBuilder::new()
        .layer(RetryLayer::new(retry))
        .layer(TimeoutLayer::new(Duration::from_secs(10)))
        .service(TokenEndpoint::new(http.clone()));
    source.oneshot(TokenRequest::new(credentials())).await
}

/// How long it was from each request to the next.
fn waits(http: &Http) -> Vec<Duration> {
    http.times().windows(2).map(|pair| pair[1] - pair[0]).collect()
}

// alf 5, alf 7
#[tokio::test(start_paused = true)]
async fn a_500_is_tried_again_so_many_times_and_the_last_response_is_in_the_error() {
    let http = Http::new(|n| Ok(answer(500, format!("answer {n}"))));
    let retry = TokenRetry::new(5).statuses([500]).backoff(Duration::from_millis(300));
    let error = asked(retry.clone(), &http).await.unwrap_err();
    assert_eq!(http.count(), 6);
    assert_eq!(error.status().unwrap(), 500);
    assert_eq!(error.body().unwrap(), "answer 6");

    let http = Http::new(|n| Ok(answer(500, format!("answer {n}"))));
    let error = asked_in_a_box(retry, &http).await.unwrap_err();
    assert_eq!(http.count(), 6);
    assert_eq!(TokenError::find_in(&*error).unwrap().body().unwrap(), "answer 6");
}

// alf 5
#[tokio::test(start_paused = true)]
async fn every_wait_is_longer_than_the_one_before_and_within_its_bounds() {
    let mut drawn = std::collections::HashSet::new();
    for _ in 0..50 {
        let http = Http::new(|_| Ok(answer(500, "")));
        let first = Duration::from_millis(300);
        asked(TokenRetry::new(5).statuses([500]).backoff(first), &http).await.unwrap_err();
        let waits = waits(&http);
        assert_eq!(waits.len(), 5);
        for (n, wait) in waits.iter().enumerate() {
            let longest = first * 2_u32.pow(n as u32);
            assert!((longest / 2..=longest + TICK).contains(wait), "{n}: {wait:?}");
        }
        assert!(waits.is_sorted(), "{waits:?}");
        drawn.insert(waits[4]);
    }
    // Jitter: 50 draws out of 2,400 ms can not all be the same.
    assert!(drawn.len() > 1);
}

// alf 5
#[tokio::test(start_paused = true)]
async fn no_wait_is_longer_than_a_minute() {
    let http = Http::new(|_| Ok(answer(500, "")));
    let retry = TokenRetry::new(70).backoff(Duration::from_secs(50));
    asked(retry, &http).await.unwrap_err();
    assert_eq!(http.count(), 71);
    let minute = Duration::from_secs(60);
    for wait in &waits(&http)[1..] {
        assert!((minute / 2..=minute + TICK).contains(wait), "{wait:?}");
    }
}

// alf 5
#[tokio::test(start_paused = true)]
async fn a_success_ends_the_tries_and_the_next_request_has_all_of_its_own() {
    // Two failures, then a token, again and again.
    let http = Http::new(|n| Ok(if n % 3 == 0 { good() } else { answer(503, "") }));
    let source = RetryLayer::new(TokenRetry::new(2)).layer(TokenEndpoint::new(http.clone()));
    for round in 1..=3 {
        let token = source.clone().oneshot(TokenRequest::new(credentials())).await.unwrap();
        assert_eq!(token.secret(), "t");
        assert_eq!(http.count(), 3 * round);
    }
}

// alf 5
#[tokio::test(start_paused = true)]
async fn only_the_statuses_that_are_set_are_tried_again() {
    for (retry, again) in [
        (TokenRetry::new(1), &[408_u16, 429, 500, 502, 503, 504] as &[u16]),
        (TokenRetry::new(1).statuses([500]), &[500]),
        (TokenRetry::new(1).statuses([400, 404]), &[400, 404]),
        (TokenRetry::new(1).statuses([]), &[]),
        (TokenRetry::new(0), &[]),
    ] {
        for status in [400, 401, 403, 404, 408, 418, 429, 500, 501, 502, 503, 504, 599] {
            let http = Http::new(move |_| Ok(answer(status, "")));
            let error = asked(retry.clone(), &http).await.unwrap_err();
            assert_eq!(error.status().unwrap(), status);
            let tries = if again.contains(&status) { 2 } else { 1 };
            assert_eq!(http.count(), tries, "{retry:?} {status}");
        }
    }
}

// alf 5
#[tokio::test(start_paused = true)]
async fn what_will_not_pass_is_not_tried_again() {
    for (status, body, kind) in [
        (400, r#"{"error":"invalid_client"}"#, TokenErrorKind::ErrorResponse),
        (200, r#"{"error":"invalid_scope"}"#, TokenErrorKind::ErrorResponse),
        (200, "{}", TokenErrorKind::InvalidAccessToken),
        (200, r#"{"token_type":"mac"}"#, TokenErrorKind::UnsupportedTokenType),
        (302, "", TokenErrorKind::Redirect),
    ] {
        let http = Http::new(move |_| Ok(answer(status, body)));
        let error = asked(TokenRetry::new(5), &http).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(http.count(), 1, "{status} {body}");
    }
}

// alf 5
#[tokio::test(start_paused = true)]
async fn a_page_in_the_place_of_a_token_may_well_pass() {
    let http = Http::new(|n| Ok(if n == 1 { answer(200, "<html>") } else { good() }));
    asked(TokenRetry::new(5), &http).await.unwrap();
    assert_eq!(http.count(), 2);
}

// alf 5
#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed_up_to_a_minute() {
    const DATE: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    let cases: [(&[(&str, &str)], u64); 6] = [
        (&[("retry-after", "17")], 17),
        (&[("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT"), DATE], 30),
        (&[("retry-after", "60")], 60),
        (&[("retry-after", "3600")], 60),
        (&[("retry-after", "Sun, 06 Nov 1994 12:00:00 GMT"), DATE], 60),
        (&[("retry-after", "99999999999999999999999")], 60),
    ];
    for (headers, seconds) in cases {
        for status in [429, 503] {
            let http = Http::new(move |n| {
                let mut response = if n == 1 { answer(status, "") } else { good() };
                for (name, value) in headers {
                    response.headers_mut().insert(*name, value.parse().unwrap());
                }
                Ok(response)
            });
            asked(TokenRetry::new(1), &http).await.unwrap();
            let wait = waits(&http)[0];
            let expected = Duration::from_secs(seconds);
            assert!((expected..=expected + TICK).contains(&wait), "{headers:?}: {wait:?}");
        }
    }
}

// alf 5
#[tokio::test(start_paused = true)]
async fn a_retry_after_that_is_less_does_not_shorten_a_wait() {
    let http = Http::new(|n| {
        let mut response = if n == 1 { answer(503, "") } else { good() };
        response.headers_mut().insert("retry-after", "0".parse().unwrap());
        Ok(response)
    });
    asked(TokenRetry::new(1).backoff(Duration::from_secs(8)), &http).await.unwrap();
    assert!(waits(&http)[0] >= Duration::from_secs(4));
}

// alf 5
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_can_not_be_reached_is_tried_again() {
    let http = Http::new(|n| if n < 3 { Err("no route".into()) } else { Ok(good()) });
    assert_eq!(asked(TokenRetry::new(2).statuses([]), &http).await.unwrap().secret(), "t");
    assert_eq!(http.count(), 3);

    let http = Http::new(|_| Err("no route".into()));
    let error = asked_in_a_box(TokenRetry::new(2), &http).await.unwrap_err();
    assert_eq!(TokenError::find_in(&*error).unwrap().kind(), TokenErrorKind::Transport);
    assert_eq!(http.count(), 3);
}

// alf 5
#[tokio::test]
async fn a_response_that_breaks_off_is_tried_again() {
    let mut answer = response(200, &[], r#"{"access_token":"t"}"#);
    answer.truncate(answer.len() - 1);
    let endpoint = RawEndpoint::resetting_after(answer).await;
    let retry = TokenRetry::new(2).backoff(Duration::ZERO);
    let source = RetryLayer::new(retry).layer(TokenEndpoint::new(client()));
    let request = TokenRequest::new(credentials_at(endpoint.url("/token")));
    let error = source.oneshot(request).await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::IncompleteResponse);
    assert_eq!(endpoint.count(), 3);
}

// alf 5, W7
#[tokio::test(start_paused = true)]
async fn a_timeout_is_tried_again_be_it_ours_or_towers() {
    async fn silent_twice(n: usize, request: TokenRequest) -> Result<AccessToken, BoxError> {
        let http = service_fn(|_| pending::<Result<Response<Full<Bytes>>, Infallible>>());
        let endpoint = TokenEndpoint::new(http).timeout(Duration::from_secs(20));
        if n < 3 { Ok(endpoint.oneshot(request).await?) } else { Ok(hour(n)) }
    }
    for timeout in [Duration::from_secs(10), Duration::from_secs(25)] {
        let inner = Source::new(silent_twice);
        let source = ServiceBuilder::new()
            .layer(RetryLayer::new(TokenRetry::new(2).statuses([])))
            .layer(TimeoutLayer::new(timeout))
            .service(inner.clone());
        let token = source.oneshot(TokenRequest::new(credentials())).await.unwrap();
        assert_eq!(token.secret(), "token-3");
        assert_eq!(inner.count(), 3);
    }
}

// alf 5
#[tokio::test(start_paused = true)]
async fn a_failure_of_a_source_of_ones_own_is_tried_again() {
    let inner = Source::new(|n, _| async move {
        if n < 3 { Err("the metadata server is starting".into()) } else { Ok(hour(n)) }
    });
    let source = RetryLayer::new(TokenRetry::new(2)).layer(inner.clone());
    let token = source.oneshot(TokenRequest::new(credentials())).await.unwrap();
    assert_eq!(token.secret(), "token-3");
    assert_eq!(inner.count(), 3);
}

// alf 5
#[tokio::test(start_paused = true)]
async fn a_failure_of_a_cache_below_is_tried_again() {
    let cache = TokenCache::builder(
        credentials(),
        Source::new(|n, _| async move {
            if n < 3 { Err("the metadata server is starting".into()) } else { Ok(hour(n)) }
        }),
    )
    .transient_backoff(Backoff::none())
    .build();
    let below = Source::new(move |_, _| {
        let cache = cache.clone();
        async move { Ok(cache.get().await?) }
    });
    let source = RetryLayer::new(TokenRetry::new(2)).layer(below.clone());
    let token = source.oneshot(TokenRequest::new(credentials())).await.unwrap();
    assert_eq!(token.secret(), "token-3");
    assert_eq!(below.count(), 3);
}

// alf 6
#[tokio::test(start_paused = true)]
async fn api_requests_are_never_tried_again() {
    let http = Http::new(|n| Ok(if n < 3 { answer(500, "") } else { good() }));
    let source = RetryLayer::new(TokenRetry::new(5)).layer(TokenEndpoint::new(http.clone()));
    let tokens = TokenCache::new(credentials(), source);
    let api = Api::always(500);
    let mut service = OAuth2Layer::new(tokens, Origins::any()).layer(api.clone());
    for calls in 1..=3 {
        let response = service.ready().await.unwrap().call(get("/")).await.unwrap();
        assert_eq!(response.status(), 500);
        assert_eq!((http.count(), api.count()), (3, calls));
    }
}
