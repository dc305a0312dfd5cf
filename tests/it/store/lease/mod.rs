//! Leases: one process fetches a token, and the others wait for it.

mod takeover;

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::{Instant, advance, sleep};
use tower::{BoxError, Layer, ServiceExt};
use tower_oauth2::store::{MemoryStore, TokenStore, TokenStoreLayer};
use tower_oauth2::{AccessToken, TokenRequest, Tokens};

use super::double::{Act, Double, Op, Timeless};
use super::*;

/// Returns a source that answers once its semaphore has a permit.
fn gated() -> (ScriptedSource, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let source = ScriptedSource::new(move |n, _| {
        let held = held.clone();
        async move {
            held.acquire().await.unwrap().forget();
            Ok(hour(n))
        }
    });
    (source, gate)
}

// S5
#[tokio::test(start_paused = true)]
async fn a_dropped_request_releases_its_lease() {
    let store = MemoryStore::new();
    let layer = TokenStoreLayer::new(store.clone());
    let (source, gate) = gated();
    let holder =
        tokio::spawn(layer.layer(source.clone()).oneshot(TokenRequest::new(credentials())));
    settle().await;
    let key = key_of(&credentials()).await;
    assert!(!store.lock(&key, "me", ms(1)).await.unwrap(), "the lease is held");
    holder.abort();
    settle().await;

    let began = Instant::now();
    gate.add_permits(1);
    assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-2");
    assert_eq!(began.elapsed(), ms(0));
}

// S5: dropped during the lock operation, which the store may have executed.
#[tokio::test(start_paused = true)]
async fn a_lease_with_an_unknown_outcome_is_released() {
    let store = Double::default();
    store.becomes(|op| if op == Op::Lock { Act::Hang } else { Act::Work });
    let layer = TokenStoreLayer::new(store.clone());
    let source = ScriptedSource::tokens(hour);
    let holder =
        tokio::spawn(layer.layer(source.clone()).oneshot(TokenRequest::new(credentials())));
    settle().await;
    assert_eq!(ops(&store), [Op::Get, Op::Lock]);
    holder.abort();
    settle().await;
    assert_eq!(ops(&store), [Op::Get, Op::Lock, Op::Unlock]);
}

// S5
#[tokio::test(start_paused = true)]
async fn others_wait_for_the_lease_of_a_dead_process() {
    let store = MemoryStore::new();
    let key = key_of(&credentials()).await;
    assert!(store.lock(&key, "died", secs(10)).await.unwrap());
    let source = slow(ms(100), hour);
    let began = Instant::now();
    assert_eq!(secrets(&fleet(8, &store, &source)).await, vec!["token-1"; 8]);
    let waited = began.elapsed();
    assert!(waited >= secs(10) && waited < secs(12), "{waited:?}");
    assert_eq!(source.count(), 1);
}

// S5
#[tokio::test(start_paused = true)]
async fn an_unreleased_lease_costs_one_lease_duration() {
    // The store does not release leases.
    let store = Double::but(Op::Unlock, Act::Pretend);
    let (source, gate) = gated();
    let layer = TokenStoreLayer::new(store.clone()).lease(secs(4));
    let holder =
        tokio::spawn(layer.layer(source.clone()).oneshot(TokenRequest::new(credentials())));
    settle().await;
    holder.abort();
    settle().await;
    gate.add_permits(1);
    let began = Instant::now();
    let handles: Vec<_> = (0..8).map(|_| over(layer.clone(), &source)).collect();
    assert_eq!(secrets(&handles).await, vec!["token-2"; 8]);
    let waited = began.elapsed();
    assert!(waited >= secs(4) && waited < secs(6), "{waited:?}");
    assert_eq!(source.count(), 2);
}

// S5
#[tokio::test(start_paused = true)]
async fn a_lease_is_extended_during_the_token_request() {
    let store = MemoryStore::new();
    let source = slow(secs(25), hour);
    let (one, other) = (process(store.clone(), &source), process(store.clone(), &source));
    let first = tokio::spawn(async move { secret(&one).await });
    let key = key_of(&credentials()).await;
    sleep(secs(12)).await;
    assert!(!store.lock(&key, "me", ms(1)).await.unwrap(), "the lease is extended after 10 s");
    let began = Instant::now();
    assert_eq!(secret(&other).await, "token-1");
    let waited = began.elapsed();
    assert!(waited >= secs(13) && waited < ms(14_500), "{waited:?}");
    assert_eq!((first.await.unwrap().as_str(), source.count()), ("token-1", 1));
    assert!(store.lock(&key, "me", ms(1)).await.unwrap(), "the lease is released");
}

// S5
#[tokio::test(start_paused = true)]
async fn a_process_waits_for_one_and_a_half_leases() {
    for lease in [10, 2] {
        let store = MemoryStore::new();
        let key = key_of(&credentials()).await;
        assert!(store.lock(&key, "hangs", secs(3600)).await.unwrap());
        let source = ScriptedSource::tokens(hour);
        let began = Instant::now();
        let layer = TokenStoreLayer::new(store.clone()).lease(secs(lease));
        assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-1");
        let waited = began.elapsed();
        assert!(waited >= ms(1500 * lease) && waited < ms(1500 * lease + 250), "{waited:?}");
        // Its token is shared.
        assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-1");
        assert!(!store.lock(&key, "me", ms(1)).await.unwrap(), "the lease of another owner stays");
    }
}

// S5
#[tokio::test(start_paused = true)]
async fn a_failed_lease_extension_fails_no_request() {
    for act in [Act::Fail, Act::Hang] {
        let store = Double::default();
        let layer = TokenStoreLayer::new(store.clone());
        let source = slow(secs(8), hour);
        let holder =
            tokio::spawn(layer.layer(source.clone()).oneshot(TokenRequest::new(credentials())));
        settle().await;
        store.becomes(move |op| if op == Op::Lock { act } else { Act::Work });
        let began = Instant::now();
        assert_eq!(holder.await.unwrap().unwrap().secret(), "token-1");
        assert_eq!(began.elapsed(), secs(8), "{act:?}");
        sleep(secs(60)).await;
        assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-1", "the token was stored");
    }
}

// S5: a process stops for longer than its lease, and another one stores a token.
#[tokio::test(start_paused = true)]
async fn a_lost_lease_stays_with_its_new_owner() {
    let (trace, _guard) = Trace::start();
    let store = MemoryStore::new();
    let source = slow(secs(30), hour);
    let layer = TokenStoreLayer::new(store.clone());
    let key = key_of(&credentials()).await;
    let call = layer.layer(source.clone()).oneshot(TokenRequest::new(credentials()));
    let mut holder = tokio_test::task::spawn(call);
    assert!(holder.poll().is_pending());
    advance(secs(10)).await;
    assert!(store.lock(&key, "other", secs(3600)).await.unwrap());
    store.set(&key, br#"{"v":1,"access_token":"theirs"}"#, secs(3600)).await.unwrap();
    assert_eq!(holder.await.unwrap().secret(), "token-1");
    assert!(!store.lock(&key, "me", ms(1)).await.unwrap(), "the lease of another owner stays");
    assert_eq!(ask(&layer, &source).await.unwrap().secret(), "theirs");
    let lost = |line: &String| line.contains("lost the lease on a token request");
    assert!(trace.lines().iter().any(lost));
}

// S5
#[tokio::test(start_paused = true)]
async fn expired_leases_are_removed_from_a_memory_store() {
    let store = MemoryStore::new();
    for n in 0..5_000 {
        assert!(store.lock(&format!("key-{n}"), "died", secs(1)).await.unwrap());
        advance(ms(100)).await;
    }
    let shown = format!("{store:?}");
    let entries: String = shown.chars().filter(char::is_ascii_digit).collect();
    assert!(entries.parse::<usize>().unwrap() <= 64, "{shown}");
}

// S5: without a token to share, each process fails by itself.
#[tokio::test(start_paused = true)]
async fn a_failed_request_releases_the_lease() {
    let store = MemoryStore::new();
    let source = ScriptedSource::new(|_, _| async {
        sleep(ms(50)).await;
        Err::<AccessToken, BoxError>("the endpoint is down".into())
    });
    let handles = fleet(8, &store, &source);
    let errors = at_once(handles.into_iter().map(|tokens| async move { tokens.get().await })).await;
    assert!(errors.iter().all(|error| error.is_err()));
    assert_eq!(source.count(), 8);
    let key = key_of(&credentials()).await;
    assert!(store.lock(&key, "me", secs(1)).await.unwrap());
}

// S5: after a failure the others do not queue for the lease.
#[tokio::test(start_paused = true)]
async fn processes_do_not_queue_for_a_failing_endpoint() {
    let store = MemoryStore::new();
    let source = ScriptedSource::new(|_, _| async {
        sleep(secs(2)).await;
        Err::<AccessToken, _>(BoxError::from("down"))
    });
    let began = Instant::now();
    let handles = fleet(32, &store, &source);
    let failed = at_once(handles.into_iter().map(|tokens| async move { tokens.get().await })).await;
    assert!(failed.iter().all(Result::is_err));
    // The first process fails after 2 s, and all others after their next lookup and 2 s more.
    let waited = began.elapsed();
    assert!(waited <= secs(5), "{waited:?}");
    assert_eq!(source.count(), 32);
}

// S5
#[tokio::test(start_paused = true)]
async fn the_mark_of_a_failure_lasts_for_five_seconds() {
    let store = MemoryStore::new();
    let source = ScriptedSource::new(|n, _| async move {
        sleep(secs(1)).await;
        if n == 1 { Err(BoxError::from("down")) } else { Ok(hour(n)) }
    });
    let layer = TokenStoreLayer::new(store.clone());
    ask(&layer, &source).await.unwrap_err();
    sleep(ms(5_001)).await;
    assert_eq!(secrets(&fleet(8, &store, &source)).await, vec!["token-2"; 8]);
    assert_eq!(source.count(), 2);
}

// S5: the mark does not replace the token.
#[tokio::test(start_paused = true)]
async fn a_failed_renewal_keeps_the_stored_token() {
    let layer = TokenStoreLayer::new(MemoryStore::new());
    let source = ScriptedSource::new(|n, _| async move {
        if n == 1 { Ok(hour(n)) } else { Err(BoxError::from("down")) }
    });
    let shown = ask(&layer, &source).await.unwrap();
    let renewal = request_to_replace(&shown, Cause::Renewal);
    layer.layer(source.clone()).oneshot(renewal).await.unwrap_err();
    assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-1");
}

// S5: without a time to live from the store, the wall clock decides.
#[tokio::test(start_paused = true)]
async fn a_mark_expires_by_the_wall_clock() {
    let failing =
        ScriptedSource::new(|_, _| async { Err::<AccessToken, _>(BoxError::from("down")) });
    let store = Double::default();
    ask(&TokenStoreLayer::new(store.clone()), &failing).await.unwrap_err();
    let mark_key = store.log().into_iter().find(|entry| entry.op == Op::Set).unwrap().key;
    let mark = store.inner.get(&mark_key).await.unwrap().unwrap();
    let mark: serde_json::Value = serde_json::from_slice(mark.value()).unwrap();
    let key = key_of(&credentials()).await;
    for (ends, waited) in [(0, secs(15)), (u64::MAX, secs(0))] {
        let store = Timeless::default();
        let mut mark = mark.clone();
        mark["ends"] = ends.into();
        store.set(&mark_key, mark.to_string().as_bytes(), secs(3600)).await.unwrap();
        assert!(store.lock(&key, "other", secs(3600)).await.unwrap());
        let began = Instant::now();
        let source = ScriptedSource::tokens(hour);
        assert_eq!(ask(&TokenStoreLayer::new(store), &source).await.unwrap().secret(), "token-1");
        assert!(began.elapsed() >= waited && began.elapsed() <= waited + secs(1), "{ends}");
    }
}

/// Replaces tokens one after the other. Returns the durations of the token requests.
async fn replace_in_a_row(tokens: &Tokens, times: usize) -> Vec<Duration> {
    let mut took = Vec::new();
    for _ in 0..times {
        let start = Instant::now();
        let token = tokens.get().await.unwrap();
        took.push(start.elapsed());
        token.reject();
    }
    took
}

// S5: an attacker who can write to the store can hold a lease forever.
#[tokio::test(start_paused = true)]
async fn a_lease_that_never_ends_is_waited_for_once() {
    let store = MemoryStore::new();
    let key = key_of(&credentials()).await;
    assert!(store.lock(&key, "attacker", secs(1_000_000)).await.unwrap());
    let source = ScriptedSource::tokens(hour);
    let took = replace_in_a_row(&process(store.clone(), &source), 20).await;
    assert!(took[0] >= secs(15) && took[0] < ms(15_250), "{took:?}");
    assert!(took[1..].iter().all(Duration::is_zero), "{took:?}");
    assert_eq!(source.count(), 20);
    // Tokens are still shared.
    let other = process(store.clone(), &source);
    assert_eq!(secret(&other).await, "token-20");
}

// S5
#[tokio::test(start_paused = true)]
async fn a_lease_is_waited_for_again_after_it_was_free() {
    let store = MemoryStore::new();
    let key = key_of(&credentials()).await;
    assert!(store.lock(&key, "hangs", secs(1_000_000)).await.unwrap());
    let source = ScriptedSource::tokens(hour);
    let tokens = process(store.clone(), &source);
    replace_in_a_row(&tokens, 2).await;
    store.unlock(&key, "hangs").await.unwrap();
    replace_in_a_row(&tokens, 1).await;

    let slow_source = slow(secs(8), |n| hour(n + 100));
    let slow_layer = TokenStoreLayer::new(store.clone());
    let rejected = AccessToken::new("token-3").unwrap();
    let request = request_to_replace(&rejected, Cause::Rejected);
    let holder = tokio::spawn(slow_layer.layer(slow_source).oneshot(request));
    settle().await;
    assert_eq!(secret(&tokens).await, "token-101");
    holder.await.unwrap().unwrap();
}
