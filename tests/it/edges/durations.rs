//! Settings and lifetimes of any length.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use tokio::runtime::Handle;
use tokio::time::{Instant, advance, sleep};
use tower::retry::RetryLayer;
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_oauth2::cache::TokenCacheBuilder;
use tower_oauth2::source::{Backoff, TokenRetry};
use tower_oauth2::{AccessToken, TokenCache, TokenEndpoint, TokenErrorKind, TokenRequest, Tokens};

use super::YEAR;
use crate::support::*;

const EXTREMES: [Duration; 2] = [Duration::ZERO, Duration::MAX];

type Set = fn(TokenCacheBuilder, Duration) -> TokenCacheBuilder;

const SETTINGS: [(&str, Set); 9] = [
    ("expiry_margin", TokenCacheBuilder::expiry_margin),
    ("renew_ahead", TokenCacheBuilder::renew_ahead),
    ("fetch_timeout", TokenCacheBuilder::fetch_timeout),
    ("transient_backoff", |b, d| b.transient_backoff(Backoff::new(d, d))),
    ("transient_backoff, min", |b, d| b.transient_backoff(Backoff::new(d, secs(1)))),
    ("transient_backoff, max", |b, d| b.transient_backoff(Backoff::new(secs(1), d))),
    ("permanent_backoff", |b, d| b.permanent_backoff(Backoff::new(d, d))),
    ("permanent_backoff, min", |b, d| b.permanent_backoff(Backoff::new(d, secs(1)))),
    ("permanent_backoff, max", |b, d| b.permanent_backoff(Backoff::new(secs(1), d))),
];

fn all(mut builder: TokenCacheBuilder, duration: Duration) -> TokenCacheBuilder {
    for (_, set) in SETTINGS {
        builder = set(builder, duration);
    }
    builder
}

/// Creates a source. If `fails`, four of five requests fail, so that a repeated fetch fails too.
fn source(token: &AccessToken, fails: bool) -> ScriptedSource {
    let token = token.clone();
    ScriptedSource::new(move |n, _| {
        let token = token.clone().with_age(Duration::ZERO);
        async move { if fails && n % 5 != 0 { Err(BoxError::from("down")) } else { Ok(token) } }
    })
}

fn http(script: impl Fn(usize) -> (u16, &'static str) + Send + Sync + 'static) -> ScriptedEndpoint {
    scripted(move |n| {
        let (status, body) = script(n);
        Ok(Response::builder().status(status).body(Full::new(Bytes::from(body)))?)
    })
}

/// Uses tokens in each way that calculates with time. A task that panicked is missing, or shows as
/// an interrupted fetch.
async fn use_for_a_while(tokens: &Tokens, expected: TokenErrorKind, what: &str) {
    tokens.keep_warm().unwrap();
    // After a failure, the sweeper may run too.
    let mut has_failed = false;
    for round in 0..8 {
        match tokens.get().await {
            Ok(token) => {
                assert!(token.time_left() <= token.lifetime());
                if round % 2 == 1 {
                    token.reject();
                }
            }
            Err(error) => {
                has_failed = true;
                let kinds = [expected, TokenErrorKind::Timeout];
                assert!(kinds.contains(&error.kind()), "{what}: {error}");
            }
        }
        sleep(secs(5)).await;
        has_failed |= tokens.status().error().is_some();
        let tasks = 1..=1 + usize::from(has_failed);
        assert!(tasks.contains(&alive_tasks()), "{what}: still kept warm");
    }
}

fn alive_tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Drops the last handle and the cache. This ends the keep-warm task and the sweeper.
async fn drop_last(tokens: Tokens, cache: TokenCache) {
    let tasks = alive_tasks();
    drop(tokens);
    settle().await;
    assert_eq!(alive_tasks(), tasks - 1);
    drop(cache);
    settle().await;
    assert_eq!(alive_tasks(), 0);
}

// C5, C6, C9, C11
#[tokio::test(start_paused = true)]
async fn a_cache_takes_every_duration() {
    let plain = AccessToken::new("t").unwrap();
    for token in [plain.clone(), plain.with_expires_in(secs(10))] {
        for duration in EXTREMES {
            for fails in [false, true] {
                for (name, set) in SETTINGS.into_iter().chain([("all", all as Set)]) {
                    let source = source(&token, fails);
                    let cache = set(builder(&source), duration).build();
                    let tokens = cache.tokens(&credentials());
                    let what = format!("{name}: {duration:?}, {token:?}, fails: {fails}");
                    use_for_a_while(&tokens, TokenErrorKind::Source, &what).await;
                    drop_last(tokens, cache).await;
                }
            }
        }
    }
}

// C9
#[tokio::test(start_paused = true)]
async fn permanent_failures_take_every_duration() {
    for duration in EXTREMES {
        for (name, set) in SETTINGS.into_iter().chain([("all", all as Set)]) {
            let http = http(|_| (401, r#"{"error":"invalid_client"}"#));
            let endpoint = TokenEndpoint::new(http).retry(TokenRetry::none());
            let builder = TokenCache::builder(endpoint);
            let cache = set(builder, duration).build();
            let tokens = cache.tokens(&credentials());
            let what = format!("{name}: {duration:?}");
            use_for_a_while(&tokens, TokenErrorKind::ErrorResponse, &what).await;
            drop_last(tokens, cache).await;
        }
    }
}

// C5, C6, C7
#[tokio::test(start_paused = true)]
async fn a_token_takes_every_duration() {
    let [shortest, longest] = EXTREMES.map(Some);
    for expires_in in [None, shortest, longest] {
        for refresh_in in [None, shortest, longest] {
            for default in [None, shortest, longest] {
                let mut token = AccessToken::new("t").unwrap();
                if let Some(expires_in) = expires_in {
                    token = token.with_expires_in(expires_in);
                }
                if let Some(refresh_in) = refresh_in {
                    token = token.with_refresh_in(refresh_in);
                }
                let mut credentials = credentials();
                if let Some(default) = default {
                    credentials = credentials.default_expires_in(default);
                }
                let what = format!("{expires_in:?}, {refresh_in:?}, {default:?}");
                for duration in EXTREMES {
                    let source = source(&token, false);
                    let plain = TokenCache::builder(source.clone()).build().tokens(&credentials);
                    plain.get().await.expect(&what);
                    drop(plain);
                    let cache = all(TokenCache::builder(source), duration).build();
                    let tokens = cache.tokens(&credentials);
                    use_for_a_while(&tokens, TokenErrorKind::Source, &what).await;
                    drop_last(tokens, cache).await;
                }
            }
        }
    }
}

// C9
#[tokio::test(start_paused = true)]
async fn back_off_lasts_a_year_at_most() {
    let source = ScriptedSource::new(|_, _| async { Err(BoxError::from("down")) });
    let for_ever = Backoff::new(Duration::MAX, Duration::MAX);
    let tokens = builder(&source).transient_backoff(for_ever).build().tokens(&credentials());
    for quarters in [4, 3, 2, 1, 4] {
        let error = tokens.get().await.unwrap_err();
        assert_eq!(error.kind(), TokenErrorKind::Source);
        assert_eq!(error.retry_in(), Some(quarters * YEAR / 4));
        advance(YEAR / 4).await;
    }
    assert_eq!(source.count(), 2);
}

// C9, C11
#[tokio::test(start_paused = true)]
async fn keeping_warm_without_back_off_does_not_spin() {
    let source = ScriptedSource::new(|n, _| async move {
        if n == 1 {
            return Ok(lasting(n, secs(100)));
        }
        sleep(ms(1)).await;
        Err(BoxError::from("down"))
    });
    let tokens = builder(&source).transient_backoff(Backoff::none()).build().tokens(&credentials());
    tokens.keep_warm().unwrap();
    // The token is renewed after 70 to 80 s, and handed out for 90 s.
    sleep(secs(89)).await;
    assert!((2..100).contains(&source.count()), "{}", source.count());
    assert_eq!(secret(&tokens).await, "token-1");
}

// C7
#[tokio::test(start_paused = true)]
async fn a_token_shows_its_default_lifetime_of_any_length() {
    for default in [secs(10), YEAR, 10 * YEAR, Duration::MAX] {
        let source = ScriptedSource::tokens(|n| AccessToken::new(format!("token-{n}")).unwrap());
        let credentials = credentials().default_expires_in(default);
        let tokens = Tokens::new(credentials, source.clone());
        let token = tokens.get().await.unwrap();
        assert_eq!(token.lifetime(), Some(default.min(YEAR)));
        for _ in 0..4 {
            advance(YEAR / 2).await;
            let token = tokens.get().await.unwrap();
            assert!(!token.time_left().unwrap().is_zero(), "handed out after its end");
        }
    }
}

// W7
#[tokio::test(start_paused = true)]
async fn a_token_request_takes_every_timeout() {
    for timeout in EXTREMES {
        let http = http(|_| (200, r#"{"access_token":"t"}"#));
        let endpoint = TokenEndpoint::new(http).timeout(timeout);
        match endpoint.oneshot(TokenRequest::new(credentials())).await {
            Ok(token) => assert_eq!(token.secret(), "t"),
            Err(error) => {
                assert_eq!((error.kind(), timeout), (TokenErrorKind::Timeout, Duration::ZERO));
            }
        }
    }
}

// alf 5
#[tokio::test(start_paused = true)]
async fn retries_take_every_back_off() {
    for backoff in EXTREMES {
        let http = http(|n| if n <= 40 { (503, "") } else { (200, r#"{"access_token":"t"}"#) });
        let source = ServiceBuilder::new()
            .layer(RetryLayer::new(TokenRetry::new(u32::MAX).backoff(backoff)))
            .service(TokenEndpoint::new(http).retry(TokenRetry::none()));
        let start = Instant::now();
        let token = source.oneshot(TokenRequest::new(credentials())).await.unwrap();
        assert_eq!(token.secret(), "t");
        assert!(start.elapsed() <= 40 * secs(61), "a minute at most, each time");
    }
}
