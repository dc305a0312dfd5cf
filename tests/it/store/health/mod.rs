//! Stores that fail, hang or panic.

mod shards;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use tokio::time::{Instant, advance, sleep};
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_oauth2::TokenRequest;
use tower_oauth2::source::Backoff;
use tower_oauth2::store::{StoredValue, TokenStore, TokenStoreLayer};

use super::double::{Act, Double, Op};
use super::*;

/// Returns a layer whose back-off is exactly ten seconds.
fn layer_with_backoff(store: &Double) -> TokenStoreLayer {
    TokenStoreLayer::new(store.clone()).backoff(Backoff::new(secs(10), secs(10)))
}

// S6, alf 26
#[tokio::test(start_paused = true)]
async fn a_failed_operation_fails_no_request() {
    for op in Op::ALL {
        let store = Double::but(op, Act::Fail);
        let source = ScriptedSource::tokens(hour);
        let began = Instant::now();
        let token = ask(&TokenStoreLayer::new(store.clone()), &source).await.unwrap();
        assert_eq!((token.secret(), source.count()), ("token-1", 1), "{op:?}");
        assert_eq!(began.elapsed(), ms(0), "{op:?}");
    }
}

// S6
#[tokio::test(start_paused = true)]
async fn an_operation_that_hangs_costs_one_deadline() {
    for (op, count) in [(Op::Get, 1), (Op::Lock, 2), (Op::Replace, 4), (Op::Unlock, 5)] {
        let store = Double::but(op, Act::Hang);
        let source = ScriptedSource::tokens(hour);
        let began = Instant::now();
        let token = ask(&TokenStoreLayer::new(store.clone()), &source).await.unwrap();
        assert_eq!((token.secret(), source.count()), ("token-1", 1), "{op:?}");
        assert_eq!(began.elapsed(), ms(250), "{op:?}");
        assert_eq!(ops(&store)[..count].last(), Some(&op));
    }
}

// S6: the store hangs from each possible operation on.
#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_costs_one_deadline() {
    for last in 0..6 {
        let calls = Arc::new(AtomicUsize::new(0));
        let store = Double::new(move |_| {
            if calls.fetch_add(1, Ordering::SeqCst) < last { Act::Work } else { Act::Hang }
        });
        let source = ScriptedSource::tokens(hour);
        let began = Instant::now();
        let layer = TokenStoreLayer::new(store.clone()).deadline(ms(80));
        assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-1");
        let expected = if last < 5 { ms(80) } else { ms(0) };
        assert_eq!(began.elapsed(), expected, "{last}");
    }
}

// S6
#[tokio::test(start_paused = true)]
async fn a_slow_store_is_used_within_its_deadline() {
    let store = Double::new(|_| Act::WorkAfter(ms(249)));
    let source = ScriptedSource::tokens(hour);
    let began = Instant::now();
    let layer = TokenStoreLayer::new(store.clone());
    assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-1");
    assert_eq!(began.elapsed(), 5 * ms(249), "a token request runs five operations");
    assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-1");
    assert_eq!(began.elapsed(), 6 * ms(249));
    assert_eq!(source.count(), 1);
}

// S6
#[tokio::test(start_paused = true)]
async fn a_read_only_store_fails_no_request() {
    for act in [Act::Fail, Act::Hang, Act::Pretend] {
        let store = Double::new(move |op| if op == Op::Get { Act::Work } else { act });
        let layer = TokenStoreLayer::new(store.clone());
        let source = ScriptedSource::tokens(hour);
        for n in 1..=20 {
            let began = Instant::now();
            let token = ask(&layer, &source).await.unwrap();
            assert_eq!(token.secret(), format!("token-{n}"));
            assert!(began.elapsed() <= ms(250), "{act:?}");
            sleep(ms(100)).await;
        }
    }
}

// S6
#[tokio::test(start_paused = true)]
async fn one_request_tries_the_store_after_its_backoff() {
    let store = Double::but(Op::Get, Act::Fail);
    let layer = layer_with_backoff(&store);
    let source = ScriptedSource::tokens(hour);
    ask(&layer, &source).await.unwrap();
    assert_eq!(store.count(), 1);
    for _ in 0..9 {
        advance(ms(1100)).await;
        ask(&layer, &source).await.unwrap();
    }
    assert_eq!((store.count(), source.count()), (1, 10), "the store is not used");

    // One request tries the store, and the others do not wait for it.
    store.becomes(|_| Act::WorkAfter(ms(200)));
    advance(ms(100)).await;
    let service = layer.layer(source.clone());
    let first = tokio::spawn(service.clone().oneshot(TokenRequest::new(credentials())));
    settle().await;
    let began = Instant::now();
    for _ in 0..5 {
        ask(&layer, &source).await.unwrap();
    }
    assert_eq!((store.count(), began.elapsed()), (2, ms(0)));

    // The trial has succeeded.
    let token = first.await.unwrap().unwrap();
    assert_eq!(ask(&layer, &source).await.unwrap().secret(), token.secret());
    assert_eq!(source.count(), 16);
}

// S6
#[tokio::test(start_paused = true)]
async fn another_request_tries_after_a_dropped_trial() {
    let store = Double::but(Op::Get, Act::Hang);
    let layer = layer_with_backoff(&store);
    let source = ScriptedSource::tokens(hour);
    ask(&layer, &source).await.unwrap();
    advance(secs(10)).await;
    let trial = tokio::spawn(layer.layer(source.clone()).oneshot(TokenRequest::new(credentials())));
    settle().await;
    trial.abort();
    assert_eq!(store.count(), 2);

    store.becomes(|_| Act::Work);
    advance(ms(250)).await;
    let token = ask(&layer, &source).await.unwrap();
    assert_eq!(ask(&layer, &source).await.unwrap().secret(), token.secret());
    assert_eq!(source.count(), 2);
}

// S6
#[tokio::test(start_paused = true)]
async fn the_backoff_grows_with_each_consecutive_failure() {
    // The other operations work, which does not end the back-off of a read-only store.
    for failing in [Op::Get, Op::Lock, Op::Replace] {
        // No token is found, so that each request runs all operations.
        let store = Double::new(move |op| match op {
            _ if op == failing => Act::Fail,
            Op::Replace => Act::Pretend,
            _ => Act::Work,
        });
        let layer = TokenStoreLayer::new(store.clone());
        let source = ScriptedSource::tokens(hour);
        let began = Instant::now();
        while began.elapsed() < secs(600) {
            ask(&layer, &source).await.unwrap();
            sleep(ms(100)).await;
        }
        let log = store.log();
        // Back-offs of 1 s would allow 600 operations, and those of 30 s would allow 20.
        let times: Vec<_> =
            log.iter().filter(|entry| entry.op == failing).map(|entry| entry.at).collect();
        assert!((15..120).contains(&times.len()), "{failing:?}: {}", times.len());
        let pauses = times.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(pauses.into_iter().all(|pause| pause >= secs(1) && pause <= ms(30_200)));

        // A success resets the back-off.
        store.becomes(|op| if op == Op::Replace { Act::Pretend } else { Act::Work });
        sleep(secs(31)).await;
        ask(&layer, &source).await.unwrap();
        store.becomes(|_| Act::Fail);
        ask(&layer, &source).await.unwrap();
        let before = store.count();
        sleep(secs(2)).await;
        ask(&layer, &source).await.unwrap();
        assert_eq!(store.count(), before + 1, "{failing:?}");
    }
}

// S6
#[tokio::test(start_paused = true)]
async fn concurrent_failures_count_once() {
    let store = Double::but(Op::Get, Act::FailAfter(ms(10)));
    let layer = TokenStoreLayer::new(store.clone()).backoff(Backoff::new(secs(1), secs(100_000)));
    let source = ScriptedSource::tokens(hour);
    let tokens = at_once((0..64).map(|n| {
        let request = TokenRequest::new(credentials().audience(format!("{n}")));
        layer.layer(source.clone()).oneshot(request)
    }))
    .await;
    assert!(tokens.iter().all(Result::is_ok));
    assert_eq!((store.count(), source.count()), (64, 64));
    // The first back-off is at most 2 s.
    advance(secs(2)).await;
    ask(&layer, &source).await.unwrap();
    assert_eq!(store.count(), 65);
}

// S6
#[tokio::test(start_paused = true)]
async fn without_backoff_each_request_uses_the_store() {
    let store = Double::but(Op::Get, Act::Fail);
    let layer = TokenStoreLayer::new(store.clone()).backoff(Backoff::none());
    let source = ScriptedSource::tokens(hour);
    for _ in 0..5 {
        ask(&layer, &source).await.unwrap();
    }
    assert_eq!(store.count(), 5);
}

// S6
#[tokio::test(start_paused = true)]
async fn a_panicking_store_fails_no_request() {
    for op in [Op::Get, Op::Lock, Op::Replace, Op::Unlock] {
        let (trace, _guard) = Trace::start();
        let store = Double::but(op, Act::Panic);
        let layer = layer_with_backoff(&store);
        let source = ScriptedSource::tokens(hour);
        let began = Instant::now();
        assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-1", "{op:?}");
        settle().await;
        let before = store.count();
        ask(&layer, &source).await.unwrap();
        assert_eq!((store.count(), began.elapsed()), (before, ms(0)), "{op:?}");
        let mut lines = trace.lines().into_iter();
        assert!(lines.any(|line| line.contains("error=the store panicked")), "{op:?}");
        store.becomes(|_| Act::Work);
        sleep(secs(10)).await;
        let token = ask(&layer, &source).await.unwrap();
        assert_eq!(ask(&layer, &source).await.unwrap().secret(), token.secret());
    }
}

/// A store that panics before it returns a future.
struct PanicsEarly;

impl TokenStore for PanicsEarly {
    fn get(&self, _: &str) -> impl Future<Output = Result<Option<StoredValue>, BoxError>> + Send {
        assert!(self.returns_a_future(), "the store has a bug");
        async { Ok(None) }
    }

    async fn set(&self, _: &str, _: &[u8], _: Duration) -> Result<(), BoxError> {
        Ok(())
    }
}

impl PanicsEarly {
    fn returns_a_future(&self) -> bool {
        false
    }
}

// S6
#[tokio::test(start_paused = true)]
async fn a_store_that_panics_before_its_future_fails_no_request() {
    let source = ScriptedSource::tokens(hour);
    assert_eq!(ask(&TokenStoreLayer::new(PanicsEarly), &source).await.unwrap().secret(), "token-1");
}

// S5, S6: dropped at each operation, whether the store has executed it or not.
#[tokio::test(start_paused = true)]
async fn a_dropped_request_does_not_delay_others() {
    for last in 0..5 {
        for is_done in [false, true] {
            let calls = Arc::new(AtomicUsize::new(0));
            let store = Double::new(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
                n if n != last => Act::Work,
                _ if is_done => Act::HangAfterwards,
                _ => Act::Hang,
            });
            let layer = TokenStoreLayer::new(store.clone());
            let source = ScriptedSource::tokens(hour);
            let dropped =
                tokio::spawn(layer.layer(source.clone()).oneshot(TokenRequest::new(credentials())));
            settle().await;
            assert_eq!(store.count(), last + 1);
            dropped.abort();
            settle().await;
            let before = source.count();
            let began = Instant::now();
            let tokens = secrets(&fleet(8, &store, &source)).await;
            assert!(began.elapsed() < secs(1), "{last}");
            assert_eq!(tokens, vec![tokens[0].clone(); 8], "{last}");
            assert!(source.count() <= before + 1, "{last}");
        }
    }
}

#[derive(Debug, PartialEq)]
struct SourceError(u8);

// S6
#[tokio::test(start_paused = true)]
async fn the_error_of_the_inner_service_is_returned() {
    let failing =
        tower::service_fn(|_: TokenRequest| async { Err::<AccessToken, _>(SourceError(7)) });
    for op in Op::ALL {
        let service = TokenStoreLayer::new(Double::but(op, Act::Fail)).layer(failing);
        let error = service.oneshot(TokenRequest::new(credentials())).await.unwrap_err();
        assert_eq!(error, SourceError(7));
    }
}

// S6: only waiting processes read the mark of a failure.
#[tokio::test(start_paused = true)]
async fn the_next_request_after_a_failure_fetches_a_token() {
    let source = ScriptedSource::new(|n, _| async move {
        if n == 1 { Err::<_, BoxError>("down".into()) } else { Ok(hour(n)) }
    });
    let store = Double::default();
    let layer = TokenStoreLayer::new(store.clone());
    ask(&layer, &source).await.unwrap_err();
    assert_eq!(ops(&store), [Op::Get, Op::Lock, Op::Get, Op::Set, Op::Unlock]);
    assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-2");
}

// S6
#[tokio::test(start_paused = true)]
async fn extreme_settings_are_valid() {
    let forever = std::time::Duration::MAX;
    for (deadline, lease) in [(forever, forever), (secs(0), secs(0)), (ms(1), forever)] {
        let store = Double::default();
        let layer = TokenStoreLayer::new(store.clone())
            .backoff(Backoff::new(forever, forever))
            .lease(lease)
            .deadline(deadline);
        let source = slow(secs(1), hour);
        assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-1");
        assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-1");
    }
    // A lease is never so short that it ends before it is extended.
    let store = Double::default();
    let layer = TokenStoreLayer::new(store.clone()).lease(secs(0));
    let source = slow(secs(1), hour);
    let held = tokio::spawn(layer.layer(source).oneshot(TokenRequest::new(credentials())));
    let key = key_of(&credentials()).await;
    sleep(ms(500)).await;
    assert!(!store.inner.lock(&key, "me", ms(1)).await.unwrap());
    held.await.unwrap().unwrap();
}

// S6: deadlines need a runtime.
#[test]
fn without_a_runtime_the_store_is_not_used() {
    let store = Double::default();
    let source = ScriptedSource::tokens(hour);
    let mut service = TokenStoreLayer::new(store.clone()).layer(source);
    let mut outside = tokio_test::task::spawn(service.call(TokenRequest::new(credentials())));
    assert!(matches!(outside.poll(), Poll::Ready(Ok(_))));

    // Created in the runtime and polled outside, and the other way round.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut made_inside = tokio_test::task::spawn({
        let _inside = runtime.enter();
        service.call(TokenRequest::new(credentials()))
    });
    assert!(matches!(made_inside.poll(), Poll::Ready(Ok(_))));
    assert_eq!(store.count(), 0);
    let made_outside = service.call(TokenRequest::new(credentials()));
    runtime.block_on(made_outside).unwrap();
    assert_eq!(store.count(), 5);
}
