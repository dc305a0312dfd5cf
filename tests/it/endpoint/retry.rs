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
    TokenRequest, Tokens,
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

async fn request_token(
    retry: TokenRetry,
    http: &ScriptedEndpoint,
) -> Result<AccessToken, TokenError> {
    let source = RetryLayer::new(retry).layer(single_try(http.clone()));
    source.oneshot(TokenRequest::new(credentials())).await
}

/// Requests a token through a timeout of tower, whose error is a box.
async fn asked_in_a_box(
    retry: TokenRetry,
    http: &ScriptedEndpoint,
) -> Result<AccessToken, BoxError> {
    let source = ServiceBuilder::new()
        .layer(RetryLayer::new(retry))
        .layer(TimeoutLayer::new(Duration::from_secs(10)))
        .service(single_try(http.clone()));
    source.oneshot(TokenRequest::new(credentials())).await
}

/// Returns the time from each request to the next.
fn waits(http: &ScriptedEndpoint) -> Vec<Duration> {
    times(http).windows(2).map(|pair| pair[1] - pair[0]).collect()
}

// alf 5, alf 7
#[tokio::test(start_paused = true)]
async fn a_500_is_retried_and_the_error_has_the_last_response() {
    let http = scripted(|n| Ok(answer(500, format!("answer {n}"))));
    let retry = TokenRetry::new(5).statuses([500]).backoff(Duration::from_millis(300));
    let error = request_token(retry.clone(), &http).await.unwrap_err();
    assert_eq!(http.count(), 6);
    assert_eq!(error.status().unwrap(), 500);
    assert_eq!(error.body().unwrap(), "answer 6");

    let http = scripted(|n| Ok(answer(500, format!("answer {n}"))));
    let error = asked_in_a_box(retry, &http).await.unwrap_err();
    assert_eq!(http.count(), 6);
    assert_eq!(TokenError::find_in(&*error).unwrap().body().unwrap(), "answer 6");
}

// alf 5
#[tokio::test(start_paused = true)]
async fn each_wait_is_longer_than_the_one_before_and_within_bounds() {
    let mut drawn = std::collections::HashSet::new();
    for _ in 0..50 {
        let http = scripted(|_| Ok(answer(500, "")));
        let first = Duration::from_millis(300);
        request_token(TokenRetry::new(5).statuses([500]).backoff(first), &http).await.unwrap_err();
        let waits = waits(&http);
        assert_eq!(waits.len(), 5);
        for (n, wait) in waits.iter().enumerate() {
            let longest = first * 2_u32.pow(n as u32);
            assert!((longest / 2..=longest + TICK).contains(wait), "{n}: {wait:?}");
        }
        assert!(waits.is_sorted(), "{waits:?}");
        drawn.insert(waits[4]);
    }
    // Jitter: 50 random waits out of 2,400 ms differ.
    assert!(drawn.len() > 1);
}

// alf 5
#[tokio::test(start_paused = true)]
async fn no_wait_is_longer_than_a_minute() {
    let http = scripted(|_| Ok(answer(500, "")));
    let retry = TokenRetry::new(70).backoff(Duration::from_secs(50));
    request_token(retry, &http).await.unwrap_err();
    assert_eq!(http.count(), 71);
    let minute = Duration::from_secs(60);
    for wait in &waits(&http)[1..] {
        assert!((minute / 2..=minute + TICK).contains(wait), "{wait:?}");
    }
}

// alf 5
#[tokio::test(start_paused = true)]
async fn a_success_ends_the_retries_of_this_request_only() {
    // Each token request gets two failures, and then a token.
    let http = scripted(|n| Ok(if n % 3 == 0 { good() } else { answer(503, "") }));
    let source = RetryLayer::new(TokenRetry::new(2)).layer(single_try(http.clone()));
    for round in 1..=3 {
        let token = source.clone().oneshot(TokenRequest::new(credentials())).await.unwrap();
        assert_eq!(token.secret(), "t");
        assert_eq!(http.count(), 3 * round);
    }
}

// alf 5
#[tokio::test(start_paused = true)]
async fn only_the_configured_statuses_are_retried() {
    for (retry, again) in [
        (TokenRetry::new(1), &[408_u16, 429, 500, 502, 503, 504] as &[u16]),
        (TokenRetry::new(1).statuses([500]), &[500]),
        (TokenRetry::new(1).statuses([400, 404]), &[400, 404]),
        (TokenRetry::new(1).statuses([]), &[]),
        (TokenRetry::new(0), &[]),
    ] {
        for status in [400, 401, 403, 404, 408, 418, 429, 500, 501, 502, 503, 504, 599] {
            let http = scripted(move |_| Ok(answer(status, "")));
            let error = request_token(retry.clone(), &http).await.unwrap_err();
            assert_eq!(error.status().unwrap(), status);
            let tries = if again.contains(&status) { 2 } else { 1 };
            assert_eq!(http.count(), tries, "{retry:?} {status}");
        }
    }
}

// alf 5
#[tokio::test(start_paused = true)]
async fn permanent_errors_are_not_retried() {
    for (status, body, kind) in [
        (400, r#"{"error":"invalid_client"}"#, TokenErrorKind::ErrorResponse),
        (200, r#"{"error":"invalid_scope"}"#, TokenErrorKind::ErrorResponse),
        (200, "{}", TokenErrorKind::InvalidAccessToken),
        (200, r#"{"token_type":"mac"}"#, TokenErrorKind::UnsupportedTokenType),
        (302, "", TokenErrorKind::Redirect),
    ] {
        let http = scripted(move |_| Ok(answer(status, body)));
        let error = request_token(TokenRetry::new(5), &http).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(http.count(), 1, "{status} {body}");
    }
}

// W7
#[tokio::test(start_paused = true)]
async fn codes_of_failures_that_may_pass_are_retried_with_any_status() {
    for code in ["temporarily_unavailable", "server_error", "slow_down"] {
        for status in [200, 400, 401, 403] {
            let body = format!(r#"{{"error":"{code}"}}"#);
            let http =
                scripted(move |n| Ok(if n == 1 { answer(status, body.clone()) } else { good() }));
            request_token(TokenRetry::new(1).statuses([]), &http).await.unwrap();
            assert_eq!(http.count(), 2, "{status} {code}");
        }
    }
}

// alf 5
#[tokio::test(start_paused = true)]
async fn a_page_instead_of_a_token_is_retried() {
    let http = scripted(|n| Ok(if n == 1 { answer(200, "<html>") } else { good() }));
    request_token(TokenRetry::new(5), &http).await.unwrap();
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
            let http = scripted(move |n| {
                let mut response = if n == 1 { answer(status, "") } else { good() };
                for (name, value) in headers {
                    response.headers_mut().insert(*name, value.parse().unwrap());
                }
                Ok(response)
            });
            request_token(TokenRetry::new(1), &http).await.unwrap();
            let wait = waits(&http)[0];
            let expected = Duration::from_secs(seconds);
            assert!((expected..=expected + TICK).contains(&wait), "{headers:?}: {wait:?}");
        }
    }
}

// alf 5
#[tokio::test(start_paused = true)]
async fn a_short_retry_after_does_not_shorten_a_wait() {
    let http = scripted(|n| {
        let mut response = if n == 1 { answer(503, "") } else { good() };
        response.headers_mut().insert("retry-after", "0".parse().unwrap());
        Ok(response)
    });
    request_token(TokenRetry::new(1).backoff(Duration::from_secs(8)), &http).await.unwrap();
    assert!(waits(&http)[0] >= Duration::from_secs(4));
}

// alf 5
#[tokio::test(start_paused = true)]
async fn an_unreachable_endpoint_is_retried() {
    let http = scripted(|n| if n < 3 { Err("no route".into()) } else { Ok(good()) });
    assert_eq!(request_token(TokenRetry::new(2).statuses([]), &http).await.unwrap().secret(), "t");
    assert_eq!(http.count(), 3);

    let http = scripted(|_| Err("no route".into()));
    let error = asked_in_a_box(TokenRetry::new(2), &http).await.unwrap_err();
    assert_eq!(TokenError::find_in(&*error).unwrap().kind(), TokenErrorKind::Transport);
    assert_eq!(http.count(), 3);
}

// alf 5
#[tokio::test]
async fn an_incomplete_response_is_retried() {
    let mut answer = response(200, &[], r#"{"access_token":"t"}"#);
    answer.truncate(answer.len() - 1);
    let endpoint = RawEndpoint::resetting_after(answer).await;
    let retry = TokenRetry::new(2).backoff(Duration::ZERO);
    let source = RetryLayer::new(retry).layer(single_try(client()));
    let request = TokenRequest::new(credentials_at(endpoint.url("/token")));
    let error = source.oneshot(request).await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::IncompleteResponse);
    assert_eq!(endpoint.count(), 3);
}

// alf 5, W7
#[tokio::test(start_paused = true)]
async fn timeouts_of_the_endpoint_and_of_tower_are_retried() {
    async fn time_out_twice(n: usize, request: TokenRequest) -> Result<AccessToken, BoxError> {
        let http = service_fn(|_| pending::<Result<Response<Full<Bytes>>, Infallible>>());
        let endpoint = single_try(http).timeout(Duration::from_secs(20));
        if n < 3 { Ok(endpoint.oneshot(request).await?) } else { Ok(hour(n)) }
    }
    for timeout in [Duration::from_secs(10), Duration::from_secs(25)] {
        let inner = ScriptedSource::new(time_out_twice);
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
async fn a_failure_of_a_custom_source_is_retried() {
    let inner = ScriptedSource::new(|n, _| async move {
        if n < 3 { Err("the metadata server is starting".into()) } else { Ok(hour(n)) }
    });
    let source = RetryLayer::new(TokenRetry::new(2)).layer(inner.clone());
    let token = source.oneshot(TokenRequest::new(credentials())).await.unwrap();
    assert_eq!(token.secret(), "token-3");
    assert_eq!(inner.count(), 3);
}

// alf 5
#[tokio::test(start_paused = true)]
async fn a_failure_of_an_inner_cache_is_retried() {
    let tokens = TokenCache::builder(ScriptedSource::new(|n, _| async move {
        if n < 3 { Err("the metadata server is starting".into()) } else { Ok(hour(n)) }
    }))
    .transient_backoff(Backoff::none())
    .build()
    .tokens(&credentials());
    let below = ScriptedSource::new(move |_, _| {
        let tokens = tokens.clone();
        async move { Ok(AccessToken::clone(&*tokens.get().await?)) }
    });
    let source = RetryLayer::new(TokenRetry::new(2)).layer(below.clone());
    let token = source.oneshot(TokenRequest::new(credentials())).await.unwrap();
    assert_eq!(token.secret(), "token-3");
    assert_eq!(below.count(), 3);
}

// alf 6
#[tokio::test(start_paused = true)]
async fn api_requests_are_never_retried() {
    let http = scripted(|n| Ok(if n < 3 { answer(500, "") } else { good() }));
    let source = RetryLayer::new(TokenRetry::new(5)).layer(single_try(http.clone()));
    let tokens = Tokens::new(credentials(), source);
    let api = Api::always(500);
    let mut service = OAuth2Layer::new(tokens, Origins::any()).layer(api.clone());
    for calls in 1..=3 {
        let response = service.ready().await.unwrap().call(get("/")).await.unwrap();
        assert_eq!(response.status(), 500);
        assert_eq!((http.count(), api.count()), (3, calls));
    }
}

// alf 5
#[tokio::test(start_paused = true)]
async fn a_token_endpoint_retries_twice_by_default() {
    let once = |http: &ScriptedEndpoint| {
        TokenEndpoint::new(http.clone()).oneshot(TokenRequest::new(credentials()))
    };
    let http = scripted(|n| Ok(if n < 3 { answer(503, "") } else { good() }));
    assert_eq!(once(&http).await.unwrap().secret(), "t");
    assert_eq!(http.count(), 3);

    let http = scripted(|n| Ok(answer(503, format!("answer {n}"))));
    let error = once(&http).await.unwrap_err();
    assert_eq!((error.status().unwrap().as_u16(), http.count()), (503, 3));
    assert_eq!(error.body().unwrap(), "answer 3");

    let http = scripted(|_| Err("no route".into()));
    assert_eq!(once(&http).await.unwrap_err().kind(), TokenErrorKind::Transport);
    assert_eq!(http.count(), 3);

    let http = scripted(|_| Ok(answer(400, r#"{"error":"invalid_client"}"#)));
    assert_eq!(once(&http).await.unwrap_err().error_code(), Some("invalid_client"));
    assert_eq!(http.count(), 1);
}

// alf 5
#[tokio::test(start_paused = true)]
async fn the_retries_of_a_token_endpoint_can_be_set() {
    for (retry, tries) in [
        (TokenRetry::none(), 1),
        (TokenRetry::new(0), 1),
        (TokenRetry::new(4), 5),
        (TokenRetry::new(4).statuses([500]), 1),
    ] {
        let http = scripted(|_| Ok(answer(503, "")));
        let endpoint = TokenEndpoint::new(http.clone()).retry(retry);
        for round in 1..=2 {
            // Each token request starts with all retries.
            endpoint.clone().oneshot(TokenRequest::new(credentials())).await.unwrap_err();
            assert_eq!(http.count(), round * tries);
        }
    }
}

// alf 5
#[tokio::test(start_paused = true)]
async fn retries_outside_do_not_multiply_with_none_inside() {
    for inside in [TokenRetry::none(), TokenRetry::new(0)] {
        let http = scripted(|_| Ok(answer(503, "")));
        let endpoint = TokenEndpoint::new(http.clone()).retry(inside);
        let source = RetryLayer::new(TokenRetry::new(2)).layer(endpoint);
        let tokens = Tokens::new(credentials(), source);
        assert_eq!(tokens.get().await.unwrap_err().status().unwrap(), 503);
        assert_eq!(http.count(), 3);
    }
}
