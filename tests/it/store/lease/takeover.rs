//! Takeover of leases from runtimes that do not poll their tasks.

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tower_oauth2::Tokens;
use tower_oauth2::store::{MemoryStore, TokenStore, TokenStoreLayer};

use super::super::double::{Act, Double, Op};
use super::*;

/// Polls the tasks of a runtime for a while.
fn run(runtime: &Runtime, duration: Duration) {
    runtime.block_on(async { sleep(duration).await });
}

/// Sends a token request on a runtime.
fn start(
    runtime: &Runtime,
    layer: &TokenStoreLayer,
    source: &ScriptedSource,
) -> JoinHandle<Result<String, BoxError>> {
    let (layer, source) = (layer.clone(), source.clone());
    runtime.spawn(async move { Ok(ask(&layer, &source).await?.secret().to_owned()) })
}

/// Acquires the lease on a runtime, which then stops until its next `block_on`.
fn hold_on(
    runtime: &Runtime,
    layer: &TokenStoreLayer,
    source: &ScriptedSource,
) -> JoinHandle<Result<String, BoxError>> {
    let holder = start(runtime, layer, source);
    runtime.block_on(settle());
    assert!(!holder.is_finished());
    holder
}

/// Gets a token on a runtime, and checks that this takes one to two seconds.
fn take_over_on(runtime: &Runtime, layer: &TokenStoreLayer, source: &ScriptedSource) -> String {
    runtime.block_on(async {
        let start = Instant::now();
        let token = ask(layer, source).await.unwrap();
        let waited = start.elapsed();
        assert!(waited >= secs(1) && waited < secs(2), "{waited:?}");
        token.secret().to_owned()
    })
}

fn key() -> String {
    paused_runtime().block_on(key_of(&credentials()))
}

/// Returns whether the lease is held.
fn is_held(store: &impl TokenStore) -> bool {
    let taken = paused_runtime().block_on(store.lock(&key(), "test", ms(0)));
    !taken.unwrap()
}

// C3, S5
#[test]
fn a_lease_on_a_stopped_runtime_is_taken_over() {
    let store = Double::default();
    let layer = TokenStoreLayer::new(store.clone());
    let source = slow(ms(50), hour);
    let (stopped, driven) = (paused_runtime(), paused_runtime());
    let late = hold_on(&stopped, &layer, &source);
    assert_eq!(take_over_on(&driven, &layer, &source), "token-2");
    assert!(!is_held(&store), "the successor releases the lease");

    // The earlier fetch returns its token and leaves the store alone.
    let before = store.count();
    assert_eq!(stopped.block_on(late).unwrap().unwrap(), "token-1");
    stopped.block_on(settle());
    assert_eq!(store.count(), before);
    assert_eq!(driven.block_on(ask(&layer, &source)).unwrap().secret(), "token-2");
}

// C3, S5
#[test]
fn a_late_return_does_not_release_the_lease_of_the_successor() {
    for is_failure in [false, true] {
        let store = Double::default();
        let layer = TokenStoreLayer::new(store.clone());
        let source = ScriptedSource::new(move |n, _| async move {
            sleep(if n == 1 { ms(50) } else { secs(600) }).await;
            if n == 1 && is_failure { Err("down".into()) } else { Ok(hour(n)) }
        });
        let (stopped, driven) = (paused_runtime(), paused_runtime());
        let late = hold_on(&stopped, &layer, &source);
        let successor = start(&driven, &layer, &source);
        run(&driven, secs(2));
        assert_eq!(source.count(), 2);

        let before = store.count();
        assert_eq!(stopped.block_on(late).unwrap().is_err(), is_failure);
        stopped.block_on(settle());
        assert_eq!(store.count(), before, "neither the lease is released nor a mark stored");
        assert!(is_held(&store));
        assert_eq!(driven.block_on(successor).unwrap().unwrap(), "token-2");
        driven.block_on(settle());
        assert!(!is_held(&store));
    }
}

// C3, S5
#[test]
fn a_superseded_holder_does_not_extend_the_lease() {
    let store = Double::default();
    let layer = TokenStoreLayer::new(store.clone());
    let source = ScriptedSource::new(|n, _| async move {
        sleep(if n == 1 { secs(600) } else { ms(50) }).await;
        Ok(hour(n))
    });
    let (stopped, driven) = (paused_runtime(), paused_runtime());
    let late = hold_on(&stopped, &layer, &source);
    assert_eq!(take_over_on(&driven, &layer, &source), "token-2");

    let before = store.count();
    run(&stopped, secs(500));
    assert_eq!(store.count(), before);
    late.abort();
    stopped.block_on(settle());
    assert_eq!(store.count(), before, "a dropped request does not release the lease");
}

// C3, S5
#[test]
fn one_of_many_waiters_takes_over() {
    let store = MemoryStore::new();
    let layer = TokenStoreLayer::new(store.clone());
    let source = slow(ms(50), hour);
    let (stopped, driven) = (paused_runtime(), paused_runtime());
    let _late = hold_on(&stopped, &layer, &source);
    let waiters: Vec<_> = (0..8).map(|_| start(&driven, &layer, &source)).collect();
    for waiter in waiters {
        assert_eq!(driven.block_on(waiter).unwrap().unwrap(), "token-2");
    }
    assert_eq!(source.count(), 2);
    assert!(!is_held(&store));
}

// C3, S5
#[test]
fn the_lease_of_a_stopped_successor_is_taken_over() {
    let layer = TokenStoreLayer::new(MemoryStore::new());
    let source = slow(ms(50), hour);
    let runtimes = [(); 3].map(|()| paused_runtime());
    let first = hold_on(&runtimes[0], &layer, &source);
    let second = start(&runtimes[1], &layer, &source);
    run(&runtimes[1], ms(1025));
    assert_eq!((source.count(), second.is_finished()), (2, false));
    assert_eq!(take_over_on(&runtimes[2], &layer, &source), "token-3");
    assert_eq!(runtimes[0].block_on(first).unwrap().unwrap(), "token-1");
    assert_eq!(runtimes[1].block_on(second).unwrap().unwrap(), "token-2");
    assert_eq!(runtimes[2].block_on(ask(&layer, &source)).unwrap().secret(), "token-3");
}

// C3, S5: the store has granted the lease, but the task has not received the answer.
#[test]
fn a_lease_is_taken_over_from_a_stopped_acquisition() {
    let store = Double::but(Op::Lock, Act::HangAfterwards);
    let layer = TokenStoreLayer::new(store.clone());
    let source = slow(ms(50), hour);
    let (stopped, driven) = (paused_runtime(), paused_runtime());
    let late = hold_on(&stopped, &layer, &source);
    assert_eq!(ops(&store), [Op::Get, Op::Lock]);
    store.becomes(|_| Act::Work);
    assert_eq!(take_over_on(&driven, &layer, &source), "token-1");
    // The stopped task did not receive the answer within its deadline.
    assert_eq!(stopped.block_on(late).unwrap().unwrap(), "token-2");
    assert!(!is_held(&store));
}

// C3, S5
#[test]
fn a_slow_holder_that_is_alive_keeps_its_lease() {
    let layer = TokenStoreLayer::new(MemoryStore::new());
    let source = slow(secs(8), hour);
    let (one, other) = (paused_runtime(), paused_runtime());
    let holder = hold_on(&one, &layer, &source);
    let waiter = start(&other, &layer, &source);
    // Both runtimes are driven in turn.
    for _ in 0..40 {
        run(&one, ms(250));
        run(&other, ms(250));
    }
    assert_eq!(one.block_on(holder).unwrap().unwrap(), "token-1");
    assert_eq!(other.block_on(waiter).unwrap().unwrap(), "token-1");
    assert_eq!(source.count(), 1);
}

// C3, S5
#[test]
fn the_lease_of_another_process_is_not_taken_over() {
    let store = MemoryStore::new();
    let (its, ours) = (TokenStoreLayer::new(store.clone()), TokenStoreLayer::new(store.clone()));
    let source = slow(ms(50), hour);
    let (stopped, driven) = (paused_runtime(), paused_runtime());
    let _holder = hold_on(&stopped, &its, &source);
    let waiter = start(&driven, &ours, &source);
    run(&driven, secs(9));
    assert_eq!(source.count(), 1);
    assert_eq!(driven.block_on(waiter).unwrap().unwrap(), "token-2");
}

// C3, S6
#[test]
fn a_store_that_fails_during_a_takeover_fails_no_request() {
    let store = Double::default();
    let layer = TokenStoreLayer::new(store.clone());
    let source = slow(ms(50), hour);
    let (stopped, driven) = (paused_runtime(), paused_runtime());
    let _late = hold_on(&stopped, &layer, &source);
    let successor = start(&driven, &layer, &source);
    run(&driven, ms(200));
    store.becomes(|op| if op == Op::Lock { Act::Fail } else { Act::Work });
    assert_eq!(driven.block_on(successor).unwrap().unwrap(), "token-2");
}

/// Starts a fetch of `first` on a runtime that stops, and awaits `second` elsewhere.
fn get_beside_a_stopped_fetch(source: &ScriptedSource, first: &Tokens, second: &Tokens) {
    let (stopped, driven) = (paused_runtime(), paused_runtime());
    let first = first.clone();
    let late = stopped.spawn(async move { first.get().await });
    stopped.block_on(settle());
    assert_eq!(source.count(), 1);
    let token = driven.block_on(async {
        let start = Instant::now();
        let token = timeout(secs(3600), second.get()).await.expect("the request hangs");
        assert!(start.elapsed() < secs(2), "{:?}", start.elapsed());
        token.unwrap()
    });
    assert_eq!(token.secret(), "token-2");
    stopped.block_on(late).unwrap().unwrap();
    assert_eq!(driven.block_on(secret(second)), "token-2");
}

// C3, S5
#[test]
fn a_cache_takes_over_the_lease_of_another_cache() {
    let layer = TokenStoreLayer::new(MemoryStore::new());
    let source = slow(ms(50), hour);
    get_beside_a_stopped_fetch(&source, &over(layer.clone(), &source), &over(layer, &source));
}

// C3, S5
#[test]
fn a_fetch_takes_over_the_lease_of_an_earlier_fetch() {
    let source = slow(ms(50), hour);
    let tokens = over(TokenStoreLayer::new(MemoryStore::new()), &source);
    get_beside_a_stopped_fetch(&source, &tokens, &tokens);
}
