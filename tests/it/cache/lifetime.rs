//! C5, C7: the time for which a token is handed out.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::{Instant, advance, sleep};
use tower::{BoxError, service_fn};
use tower_oauth2::{AccessToken, TokenCache, TokenEndpoint, Tokens};

use super::without_renewal;
use crate::support::*;

// alf 14
#[tokio::test(start_paused = true)]
async fn a_valid_token_is_reused() {
    let source = ScriptedSource::tokens(hour);
    let tokens = without_renewal(&source);
    for _ in 0..3 {
        assert_eq!(secret(&tokens).await, "token-1");
    }
    assert_eq!(source.count(), 1);
}

// C5, alf 15
#[tokio::test(start_paused = true)]
async fn a_token_is_not_handed_out_within_the_expiry_margin() {
    // The lifetime, and the time for which the token is handed out, in milliseconds.
    for (lifetime, usable) in [(2_000, 1_800), (100_000, 90_000), (3_600_000, 3_590_000)] {
        let source = ScriptedSource::tokens(move |n| lasting(n, ms(lifetime)));
        let tokens = without_renewal(&source);
        assert_eq!(secret(&tokens).await, "token-1");
        advance(ms(usable - 1)).await;
        assert_eq!(secret(&tokens).await, "token-1", "{lifetime} ms");
        advance(ms(1)).await;
        assert_eq!(secret(&tokens).await, "token-2", "{lifetime} ms");
    }
}

// C5
#[tokio::test(start_paused = true)]
async fn the_expiry_margin_can_be_set() {
    let source = ScriptedSource::tokens(hour);
    let tokens = builder(&source)
        .renew_ahead(Duration::ZERO)
        .expiry_margin(secs(60))
        .build()
        .tokens(&credentials());
    secret(&tokens).await;
    advance(secs(3539)).await;
    assert_eq!(secret(&tokens).await, "token-1");
    advance(secs(1)).await;
    assert_eq!(secret(&tokens).await, "token-2");
}

fn slow_endpoint(delay: Duration, expires_in: u64) -> TokenEndpoint {
    TokenEndpoint::new(service_fn(move |_: Request<Full<Bytes>>| async move {
        sleep(delay).await;
        let body = format!(r#"{{"access_token":"t","expires_in":{expires_in}}}"#);
        Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(body)))
    }))
}

// C5
#[tokio::test(start_paused = true)]
async fn a_lifetime_starts_with_the_request_that_was_answered() {
    let start = Instant::now();
    let tokens = Tokens::new(credentials(), slow_endpoint(secs(5), 100));
    let token = tokens.get().await.unwrap();
    assert_eq!(start.elapsed(), secs(5));
    assert_eq!(token.time_left(), Some(secs(95)));
}

// C5, C7
#[tokio::test(start_paused = true)]
async fn a_token_that_expired_on_arrival_goes_to_its_waiters() {
    let source = ScriptedSource::new(|n, _| async move {
        let token = lasting(n, secs(3));
        sleep(secs(5)).await;
        Ok(token)
    });
    let tokens = Tokens::new(credentials(), source);
    let (one, two) = tokio::join!(tokens.get(), tokens.get());
    assert_eq!((one.unwrap().secret(), two.unwrap().secret()), ("token-1", "token-1"));
    assert_eq!(tokens.get().await.unwrap().secret(), "token-2");
}

// C7, alf 17
#[tokio::test(start_paused = true)]
async fn a_token_without_an_end_is_valid_until_it_is_rejected() {
    let source = ScriptedSource::tokens(|n| AccessToken::new(format!("token-{n}")).unwrap());
    let tokens = tokens(&source);
    let token = tokens.get().await.unwrap();
    advance(secs(10 * 365 * 86_400)).await;
    assert_eq!(secret(&tokens).await, "token-1");
    token.reject();
    assert_eq!(secret(&tokens).await, "token-2");
}

// C7, alf 17
#[tokio::test(start_paused = true)]
async fn a_default_lifetime_is_used_only_if_the_response_has_none() {
    let source = ScriptedSource::tokens(|n| {
        let token = AccessToken::new(format!("token-{n}")).unwrap();
        if n == 1 { token } else { token.with_expires_in(secs(1000)) }
    });
    let tokens = TokenCache::builder(source.clone())
        .renew_ahead(Duration::ZERO)
        .build()
        .tokens(&credentials().default_expires_in(secs(100)));
    assert_eq!(tokens.get().await.unwrap().lifetime(), Some(secs(100)));
    advance(secs(90)).await;
    assert_eq!(tokens.get().await.unwrap().lifetime(), Some(secs(1000)));
    advance(secs(989)).await;
    assert_eq!(secret(&tokens).await, "token-2");
}

// C7, alf 18
#[tokio::test(start_paused = true)]
async fn a_token_without_lifetime_goes_to_its_waiters_only() {
    let source = ScriptedSource::tokens(|n| lasting(n, Duration::ZERO));
    let tokens = tokens(&source);
    let (one, two, three) = tokio::join!(tokens.get(), tokens.get(), tokens.get());
    for token in [one, two, three] {
        assert_eq!(token.unwrap().secret(), "token-1");
    }
    assert_eq!(secret(&tokens).await, "token-2");
    assert_eq!(source.count(), 2);
}
