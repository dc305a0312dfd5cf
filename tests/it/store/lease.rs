use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::{Instant, advance, sleep};
use tower::{BoxError, Layer, ServiceExt};
use tower_oauth2::store::{MemoryStore, TokenStore, TokenStoreLayer};
use tower_oauth2::{AccessToken, TokenRequest};

use super::double::{Act, Double, Op, Timeless};
use super::*;

/// Does not answer before the semaphore has a permit.
fn gated() -> (Source, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let source = Source::new(move |n, _| {
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
async fn a_holder_that_is_dropped_gives_its_lease_back() {
    let store = MemoryStore::new();
    let layer = TokenStoreLayer::new(store.clone());
    let (source, gate) = gated();
    let holder =
        tokio::spawn(layer.layer(source.clone()).oneshot(TokenRequest::new(credentials())));
    settle().await;
    let key = key_of(&credentials()).await;
    assert!(!store.lock(&key, "me", ms(1)).await.unwrap(), "it is held");
    holder.abort();
    settle().await;

    let began = Instant::now();
    gate.add_permits(1);
    assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-2");
    assert_eq!(began.elapsed(), ms(0));
}

// S5: dropped while the store is asked for the lease, which it may have given all the same.
#[tokio::test(start_paused = true)]
async fn a_lease_that_was_never_heard_of_is_given_back_too() {
    let store = Double::default();
    store.becomes(|op| if op == Op::Lock { Act::Hang } else { Act::Work });
    let layer = TokenStoreLayer::new(store.clone());
    let source = Source::of(hour);
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
async fn others_wait_for_the_lease_of_a_process_that_has_died() {
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
async fn a_lease_that_does_not_come_back_costs_its_time_and_one_token_request() {
    // Nobody can give a lease back.
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
    let caches: Vec<_> = (0..8).map(|_| over(layer.clone(), &source)).collect();
    assert_eq!(secrets(&caches).await, vec!["token-2"; 8]);
    let waited = began.elapsed();
    assert!(waited >= secs(4) && waited < secs(6), "{waited:?}");
    assert_eq!(source.count(), 2);
}

// S5
#[tokio::test(start_paused = true)]
async fn a_lease_lasts_for_as_long_as_its_holder_asks() {
    let store = MemoryStore::new();
    let source = slow(secs(25), hour);
    let (one, other) = (process(store.clone(), &source), process(store.clone(), &source));
    let first = tokio::spawn(async move { secret(&one).await });
    let key = key_of(&credentials()).await;
    sleep(secs(12)).await;
    assert!(!store.lock(&key, "me", ms(1)).await.unwrap(), "it would have ended at 10 s");
    let began = Instant::now();
    assert_eq!(secret(&other).await, "token-1");
    let waited = began.elapsed();
    assert!(waited >= secs(13) && waited < ms(14_500), "{waited:?}");
    assert_eq!((first.await.unwrap().as_str(), source.count()), ("token-1", 1));
    assert!(store.lock(&key, "me", ms(1)).await.unwrap(), "it was given back");
}

// S5: a holder that hangs is no reason to wait for ever.
#[tokio::test(start_paused = true)]
async fn whoever_has_waited_for_a_lease_and_a_half_asks_for_itself() {
    for lease in [10, 2] {
        let store = MemoryStore::new();
        let key = key_of(&credentials()).await;
        assert!(store.lock(&key, "hangs", secs(3600)).await.unwrap());
        let source = Source::of(hour);
        let began = Instant::now();
        let layer = TokenStoreLayer::new(store.clone()).lease(secs(lease));
        assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-1");
        let waited = began.elapsed();
        assert!(waited >= ms(1500 * lease) && waited < ms(1500 * lease + 250), "{waited:?}");
        // What it has got is for all.
        assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-1");
        assert!(!store.lock(&key, "me", ms(1)).await.unwrap(), "not its own to give back");
    }
}

// S5
#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_fails_stops_nobody() {
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
        assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-1", "it was stored");
    }
}

// S5: as by a process that was stopped for longer than its lease. What it brings is its own: the others have theirs.
#[tokio::test(start_paused = true)]
async fn a_lease_that_was_lost_is_left_to_whoever_has_it() {
    let (trace, _guard) = Trace::start();
    let store = MemoryStore::new();
    let source = slow(secs(30), hour);
    let layer = TokenStoreLayer::new(store.clone());
    let key = key_of(&credentials()).await;
    let asked = layer.layer(source.clone()).oneshot(TokenRequest::new(credentials()));
    let mut holder = tokio_test::task::spawn(asked);
    assert!(holder.poll().is_pending());
    advance(secs(10)).await;
    assert!(store.lock(&key, "other", secs(3600)).await.unwrap());
    store.set(&key, br#"{"v":1,"access_token":"theirs"}"#, secs(3600)).await.unwrap();
    assert_eq!(holder.await.unwrap().secret(), "token-1");
    assert!(!store.lock(&key, "me", ms(1)).await.unwrap(), "not its own to give back");
    assert_eq!(ask(&layer, &source).await.unwrap().secret(), "theirs");
    let lost = |line: &String| line.contains("the lease on a token request was lost");
    assert!(trace.lines().iter().any(lost));
}

// S5
#[tokio::test(start_paused = true)]
async fn leases_that_nobody_gives_back_do_not_pile_up() {
    let store = MemoryStore::new();
    for n in 0..5_000 {
        assert!(store.lock(&format!("key-{n}"), "died", secs(1)).await.unwrap());
        advance(ms(100)).await;
    }
    let shown = format!("{store:?}");
    let entries: String = shown.chars().filter(char::is_ascii_digit).collect();
    assert!(entries.parse::<usize>().unwrap() <= 64, "{shown}");
}

// S5: there is no token to share, so each learns for itself, in turn.
#[tokio::test(start_paused = true)]
async fn a_failure_reaches_everybody_and_the_lease_is_free() {
    let store = MemoryStore::new();
    let source = Source::new(|_, _| async {
        sleep(ms(50)).await;
        Err::<AccessToken, BoxError>("the endpoint is down".into())
    });
    let caches = fleet(8, &store, &source);
    let errors = at_once(caches.into_iter().map(|cache| async move { cache.get().await })).await;
    assert!(errors.iter().all(|error| error.is_err()));
    assert_eq!(source.count(), 8);
    let key = key_of(&credentials()).await;
    assert!(store.lock(&key, "me", secs(1)).await.unwrap());
}

// S5: what one has just failed at is not queued for: each asks for itself, and its cache's back-off does the rest.
#[tokio::test(start_paused = true)]
async fn nobody_waits_in_line_for_an_endpoint_that_fails() {
    let store = MemoryStore::new();
    let source = Source::new(|_, _| async {
        sleep(secs(2)).await;
        Err::<AccessToken, _>(BoxError::from("down"))
    });
    let began = Instant::now();
    let caches = fleet(32, &store, &source);
    let failed = at_once(caches.into_iter().map(|cache| async move { cache.get().await })).await;
    assert!(failed.iter().all(Result::is_err));
    // The first, and after a look at most 1 s later all the others.
    let waited = began.elapsed();
    assert!(waited <= secs(5), "{waited:?}");
    assert_eq!(source.count(), 32);
}

// S5: that it failed is not held against it for long.
#[tokio::test(start_paused = true)]
async fn a_failure_is_told_for_five_seconds() {
    let store = MemoryStore::new();
    let source = Source::new(|n, _| async move {
        sleep(secs(1)).await;
        if n == 1 { Err(BoxError::from("down")) } else { Ok(hour(n)) }
    });
    let layer = TokenStoreLayer::new(store.clone());
    ask(&layer, &source).await.unwrap_err();
    sleep(ms(5_001)).await;
    assert_eq!(secrets(&fleet(8, &store, &source)).await, vec!["token-2"; 8]);
    assert_eq!(source.count(), 2);
}

// S5: a failure is told beside the token, and not in its place.
#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_leaves_the_token_to_others() {
    let layer = TokenStoreLayer::new(MemoryStore::new());
    let source = Source::new(|n, _| async move {
        if n == 1 { Ok(hour(n)) } else { Err(BoxError::from("down")) }
    });
    let shown = ask(&layer, &source).await.unwrap();
    let renewal = in_place_of(&shown, Cause::Renewal);
    layer.layer(source.clone()).oneshot(renewal).await.unwrap_err();
    assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-1");
}

// S5: where the store does not say what remains, the wall clock does.
#[tokio::test(start_paused = true)]
async fn a_failure_is_not_told_for_longer_than_its_own_clock_says() {
    let failing = Source::new(|_, _| async { Err::<AccessToken, _>(BoxError::from("down")) });
    let store = Double::default();
    ask(&TokenStoreLayer::new(store.clone()), &failing).await.unwrap_err();
    let told = store.log().into_iter().find(|entry| entry.op == Op::Set).unwrap().key;
    let mark = store.inner.get(&told).await.unwrap().unwrap();
    let mark: serde_json::Value = serde_json::from_slice(mark.value()).unwrap();
    let key = key_of(&credentials()).await;
    for (ends, waited) in [(0, secs(15)), (u64::MAX, secs(0))] {
        let store = Timeless::default();
        let mut mark = mark.clone();
        mark["ends"] = ends.into();
        store.set(&told, mark.to_string().as_bytes(), secs(3600)).await.unwrap();
        assert!(store.lock(&key, "other", secs(3600)).await.unwrap());
        let began = Instant::now();
        let source = Source::of(hour);
        assert_eq!(ask(&TokenStoreLayer::new(store), &source).await.unwrap().secret(), "token-1");
        assert!(began.elapsed() >= waited && began.elapsed() <= waited + secs(1), "{ends}");
    }
}

/// Replaces one token after the other. Returns how long each token request took.
async fn replace_in_a_row(cache: &TokenCache, times: usize) -> Vec<Duration> {
    let mut took = Vec::new();
    for _ in 0..times {
        let start = Instant::now();
        let token = cache.get().await.unwrap();
        took.push(start.elapsed());
        cache.reject(&token);
    }
    took
}

// S5: whoever can write to the store can hold a lease for ever.
#[tokio::test(start_paused = true)]
async fn a_foreign_lease_that_never_ends_is_waited_for_once() {
    let store = MemoryStore::new();
    let key = key_of(&credentials()).await;
    assert!(store.lock(&key, "attacker", secs(1_000_000)).await.unwrap());
    let source = Source::of(hour);
    let took = replace_in_a_row(&process(store.clone(), &source), 20).await;
    assert!(took[0] >= secs(15) && took[0] < ms(15_250), "{took:?}");
    assert!(took[1..].iter().all(Duration::is_zero), "{took:?}");
    assert_eq!(source.count(), 20);
    // Tokens are shared all the same.
    let other = process(store.clone(), &source);
    assert_eq!(secret(&other).await, "token-20");
}

// S5
#[tokio::test(start_paused = true)]
async fn a_lease_is_waited_for_again_once_it_was_free() {
    let store = MemoryStore::new();
    let key = key_of(&credentials()).await;
    assert!(store.lock(&key, "hangs", secs(1_000_000)).await.unwrap());
    let source = Source::of(hour);
    let cache = process(store.clone(), &source);
    replace_in_a_row(&cache, 2).await;
    store.unlock(&key, "hangs").await.unwrap();
    replace_in_a_row(&cache, 1).await;

    let slow_source = slow(secs(8), |n| hour(n + 100));
    let slow_layer = TokenStoreLayer::new(store.clone());
    let rejected = AccessToken::new("token-3").unwrap();
    let request = in_place_of(&rejected, Cause::Rejected);
    let holder = tokio::spawn(slow_layer.layer(slow_source).oneshot(request));
    settle().await;
    assert_eq!(secret(&cache).await, "token-101");
    holder.await.unwrap().unwrap();
}
