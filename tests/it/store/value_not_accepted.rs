//! Tokens that cannot be stored.

use std::fmt;

use tokio::time::Instant;
use tower::BoxError;
use tower_oauth2::source::Backoff;
use tower_oauth2::store::{TokenStoreLayer, ValueNotAccepted};

use super::double::{Act, Double, Op};
use super::*;

/// Returns a store that accepts marks but not tokens.
fn without_tokens() -> Double {
    Double::but(Op::Replace, Act::NotAccept)
}

// S6
#[tokio::test(start_paused = true)]
async fn a_refused_value_is_not_a_failure_of_the_store() {
    let (trace, _guard) = Trace::start();
    let store = without_tokens();
    let layer = TokenStoreLayer::new(store.clone()).backoff(Backoff::new(secs(60), secs(60)));
    let source = ScriptedSource::tokens(hour);
    for n in 1..=3 {
        assert_eq!(ask(&layer, &source).await.unwrap().secret(), format!("token-{n}"));
    }
    let count = |text| trace.lines().iter().filter(|line| line.contains(text)).count();
    assert_eq!(count("the token store does not accept a value; the token is not shared"), 3);
    assert_eq!(count("error=the store does not accept the value: longer than 64 KiB"), 3);
    assert_eq!(count("the token store failed"), 0);
    // Once the store accepts a token, the token is shared.
    store.becomes(|_| Act::Work);
    assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-4");
    assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-4");
}

// S5: waiting processes do not acquire the lease one after the other.
#[tokio::test(start_paused = true)]
async fn processes_do_not_queue_for_a_token_that_is_not_stored() {
    type Make = fn(usize) -> AccessToken;
    let large: Make = |n| hour(n).with_scope("x".repeat(2 << 20));
    // The token is about to expire.
    let over: Make = |n| lasting(n, secs(1)).with_age(ms(950));
    for (store, make) in
        [(without_tokens(), hour as Make), (Double::default(), large), (Double::default(), over)]
    {
        let source = slow(secs(1), make);
        let start = Instant::now();
        let handles = fleet(8, &store, &source);
        secrets(&handles).await;
        assert!(start.elapsed() <= secs(4), "{:?}", start.elapsed());
        assert_eq!(source.count(), 8);
    }
}

/// An error of a store that wraps its cause, like `anyhow::Error`.
#[derive(Debug)]
struct Wrapped(ValueNotAccepted);

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("writing failed")
    }
}

impl std::error::Error for Wrapped {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// A store that never accepts a value and wraps its errors.
struct Wrapping;

impl TokenStore for Wrapping {
    async fn get(&self, _: &str) -> Result<Option<tower_oauth2::store::StoredValue>, BoxError> {
        Ok(None)
    }

    async fn set(&self, _: &str, _: &[u8], _: Duration) -> Result<(), BoxError> {
        Err(Wrapped(ValueNotAccepted::new("too large")).into())
    }
}

// S6
#[tokio::test(start_paused = true)]
async fn value_not_accepted_may_be_the_source_of_an_error() {
    let (trace, _guard) = Trace::start();
    ask(&TokenStoreLayer::new(Wrapping), &ScriptedSource::tokens(hour)).await.unwrap();
    let lines = trace.lines();
    assert!(!lines.iter().any(|line| line.contains("the token store failed")), "{lines:?}");
}

// S6: an operation that stores nothing cannot refuse a value.
#[tokio::test(start_paused = true)]
async fn value_not_accepted_from_get_and_lock_is_a_failure() {
    for op in [Op::Get, Op::Lock] {
        let (trace, _guard) = Trace::start();
        let store = Double::but(op, Act::NotAccept);
        ask(&TokenStoreLayer::new(store), &ScriptedSource::tokens(hour)).await.unwrap();
        let lines = trace.lines();
        assert!(lines.iter().any(|line| line.contains("the token store failed")), "{op:?}");
    }
}
