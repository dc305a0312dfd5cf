use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::{Instant, advance, sleep};
use tower::{BoxError, service_fn};
use tower_oauth2::{AccessToken, TokenCache, TokenEndpoint};

use super::{plain, secret, secs};
use crate::support::*;

// alf 14
#[tokio::test(start_paused = true)]
async fn a_valid_token_is_reused() {
    let source = Source::of(hour);
    let cache = plain(&source);
    for _ in 0..3 {
        assert_eq!(secret(&cache).await, "token-1");
    }
    assert_eq!(source.count(), 1);
}

// C5, alf 15
#[tokio::test(start_paused = true)]
async fn a_token_is_not_handed_out_within_the_margin_of_its_end() {
    // Lifetime, and how long it is handed out, in milliseconds.
    for (lifetime, usable) in [(2_000, 1_800), (100_000, 90_000), (3_600_000, 3_590_000)] {
        let source = Source::of(move |n| lasting(n, Duration::from_millis(lifetime)));
        let cache = plain(&source);
        assert_eq!(secret(&cache).await, "token-1");
        advance(Duration::from_millis(usable - 1)).await;
        assert_eq!(secret(&cache).await, "token-1", "{lifetime} ms");
        advance(Duration::from_millis(1)).await;
        assert_eq!(secret(&cache).await, "token-2", "{lifetime} ms");
    }
}

// C5
#[tokio::test(start_paused = true)]
async fn the_margin_can_be_set() {
    let source = Source::of(hour);
    let cache = super::builder(&source).renew_ahead(Duration::ZERO).expiry_margin(secs(60)).build();
    secret(&cache).await;
    advance(secs(3539)).await;
    assert_eq!(secret(&cache).await, "token-1");
    advance(secs(1)).await;
    assert_eq!(secret(&cache).await, "token-2");
}

fn slow_endpoint(delay: Duration, expires_in: u64) -> TokenEndpoint<impl SlowHttp> {
    TokenEndpoint::new(service_fn(move |_: Request<Full<Bytes>>| async move {
        sleep(delay).await;
        let body = format!(r#"{{"access_token":"t","expires_in":{expires_in}}}"#);
        Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(body)))
    }))
}

trait SlowHttp:
    tower::Service<
        Request<Full<Bytes>>,
        Response = Response<Full<Bytes>>,
        Error = BoxError,
        Future: Send,
    > + Clone
    + Send
    + 'static
{
}

impl<T> SlowHttp for T where
    T: tower::Service<
            Request<Full<Bytes>>,
            Response = Response<Full<Bytes>>,
            Error = BoxError,
            Future: Send,
        > + Clone
        + Send
        + 'static
{
}

// C5
#[tokio::test(start_paused = true)]
async fn a_lifetime_counts_from_the_start_of_the_attempt_that_answered() {
    let start = Instant::now();
    let cache = TokenCache::new(credentials(), slow_endpoint(secs(5), 100));
    let token = cache.get().await.unwrap();
    assert_eq!(start.elapsed(), secs(5));
    assert_eq!(token.time_left(), Some(secs(95)));
}

// C5, C7
#[tokio::test(start_paused = true)]
async fn a_token_that_is_over_when_it_arrives_is_for_those_who_waited() {
    let source = Source::new(|n, _| async move {
        let token = lasting(n, secs(3));
        sleep(secs(5)).await;
        Ok(token)
    });
    let cache = TokenCache::new(credentials(), source);
    let (one, two) = tokio::join!(cache.get(), cache.get());
    assert_eq!((one.unwrap().secret(), two.unwrap().secret()), ("token-1", "token-1"));
    assert_eq!(cache.get().await.unwrap().secret(), "token-2");
}

// C7, alf 17
#[tokio::test(start_paused = true)]
async fn without_any_word_of_its_end_a_token_is_valid_until_it_is_rejected() {
    let source = Source::of(|n| AccessToken::new(format!("token-{n}")).unwrap());
    let cache = super::builder(&source).build();
    let token = cache.get().await.unwrap();
    advance(secs(10 * 365 * 86_400)).await;
    assert_eq!(secret(&cache).await, "token-1");
    cache.reject(&token);
    assert_eq!(secret(&cache).await, "token-2");
}

// C7, alf 17
#[tokio::test(start_paused = true)]
async fn a_default_lifetime_is_used_when_the_response_has_none_and_only_then() {
    let source = Source::of(|n| {
        let token = AccessToken::new(format!("token-{n}")).unwrap();
        if n == 1 { token } else { token.with_expires_in(secs(1000)) }
    });
    let cache = TokenCache::builder(credentials().default_expires_in(secs(100)), source.clone())
        .renew_ahead(Duration::ZERO)
        .build();
    assert_eq!(cache.get().await.unwrap().lifetime(), Some(secs(100)));
    advance(secs(90)).await;
    assert_eq!(cache.get().await.unwrap().lifetime(), Some(secs(1000)));
    advance(secs(989)).await;
    assert_eq!(secret(&cache).await, "token-2");
}

// C7, alf 18
#[tokio::test(start_paused = true)]
async fn a_token_without_any_life_is_used_by_those_who_waited_and_then_gone() {
    let source = Source::of(|n| lasting(n, Duration::ZERO));
    let cache = super::builder(&source).build();
    let (one, two, three) = tokio::join!(cache.get(), cache.get(), cache.get());
    for token in [one, two, three] {
        assert_eq!(token.unwrap().secret(), "token-1");
    }
    assert_eq!(secret(&cache).await, "token-2");
    assert_eq!(source.count(), 2);
}
