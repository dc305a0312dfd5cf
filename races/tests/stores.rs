//! Caches that share a store: a lease has one holder, and none remains (S4, S5).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use tokio::runtime::Runtime;
use tokio::time::elapsed;
use tower::{BoxError, Layer};
use tower_oauth2_races::TokenCache;
use tower_oauth2_races::store::{MemoryStore, StoredValue, TokenStore, TokenStoreLayer};

use crate::support::*;

/// A store that records who holds a lease.
#[derive(Clone)]
struct WatchedStore {
    store: MemoryStore,
    holders: Arc<Mutex<BTreeSet<String>>>,
    journal: Journal,
}

impl WatchedStore {
    fn new(journal: &Journal) -> Self {
        Self { store: MemoryStore::new(), holders: Arc::default(), journal: journal.clone() }
    }

    fn assert_no_lease_is_left(&self) {
        assert_eq!(*self.holders.lock().unwrap(), BTreeSet::new(), "a lease is left");
    }
}

impl TokenStore for WatchedStore {
    async fn get(&self, key: &str) -> Result<Option<StoredValue>, BoxError> {
        pause().await;
        self.store.get(key).await
    }

    async fn set(&self, key: &str, value: &[u8], time_to_live: Duration) -> Result<(), BoxError> {
        pause().await;
        self.store.set(key, value, time_to_live).await
    }

    async fn replace(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
        time_to_live: Duration,
    ) -> Result<bool, BoxError> {
        pause().await;
        self.store.replace(key, expected, value, time_to_live).await
    }

    async fn lock(&self, key: &str, owner: &str, lease: Duration) -> Result<bool, BoxError> {
        pause().await;
        let is_held = self.store.lock(key, owner, lease).await?;
        if is_held {
            self.holders.lock().unwrap().insert(owner.to_owned());
        }
        pause().await;
        Ok(is_held)
    }

    async fn unlock(&self, key: &str, owner: &str) -> Result<(), BoxError> {
        pause().await;
        if self.holders.lock().unwrap().contains(owner) {
            let live_calls = self.journal.live_calls("own");
            assert_eq!(live_calls, 0, "a lease is released during a token request under it");
        }
        self.store.unlock(key, owner).await?;
        self.holders.lock().unwrap().remove(owner);
        Ok(())
    }
}

/// Creates a cache with its own store layer on its own runtime.
fn process(store: &WatchedStore) -> (CacheFixture, Runtime) {
    let script = |n| Answer::Token(token(n));
    cache_over(&TokenStoreLayer::new(store.clone()), &store.journal, script)
}

/// Creates a cache over a store layer, on a runtime of its own.
fn cache_over(
    layer: &TokenStoreLayer,
    journal: &Journal,
    script: impl Fn(usize) -> Answer + Send + Sync + 'static,
) -> (CacheFixture, Runtime) {
    let runtime = Runtime::new();
    let source = Source::new(journal.clone(), script);
    let cache = TokenCache::new(layer.layer(source));
    (CacheFixture::over(cache, journal, &runtime), runtime)
}

// S5
#[test]
fn concurrent_misses_of_a_fleet_make_one_token_request() {
    explore(|| {
        let journal = Journal::default();
        let store = WatchedStore::new(&journal);
        let fleet = [(); 3].map(|()| process(&store));
        let callers: Vec<_> =
            fleet.iter().map(|(fixture, _)| fixture.spawn(CacheFixture::get)).collect();
        for got in join(callers) {
            assert_eq!(call_of(&got.unwrap()), 1);
        }
        fleet.iter().for_each(|(fixture, _)| fixture.settle());
        assert_eq!(journal.count(), 1);
        store.assert_no_lease_is_left();
        // The others look into the store after 20 ms, and do not wait for the end of a lease.
        assert!(elapsed() < Duration::from_secs(1));
    });
}

// S4, S5
#[test]
fn a_revocation_costs_a_fleet_one_token_request() {
    explore(|| {
        let journal = Journal::default();
        let store = WatchedStore::new(&journal);
        let fleet = [(); 2].map(|()| process(&store));
        for (fixture, _) in &fleet {
            assert_eq!(call_of(&fixture.spawn(CacheFixture::get).join().unwrap().unwrap()), 1);
        }
        let callers = fleet.iter().map(|(fixture, _)| {
            fixture.spawn(|fixture| {
                fixture.get().unwrap().reject();
                assert_eq!(call_of(&fixture.get().unwrap()), 2);
            })
        });
        join(callers.collect::<Vec<_>>());
        fleet.iter().for_each(|(fixture, _)| fixture.settle());
        assert_eq!(journal.count(), 2);
        store.assert_no_lease_is_left();
    });
}

// S5
#[test]
fn a_process_that_ends_delays_the_others_by_one_lease() {
    explore(|| {
        let journal = Journal::default();
        let store = WatchedStore::new(&journal);
        let (ending, runtime) = process(&store);
        let (fixture, _runtime) = process(&store);
        let first = ending.spawn(|fixture| fixture.give_up(1));
        let end = fixture.spawn(|_| drop(runtime));
        let caller = fixture.spawn(CacheFixture::get);
        first.join().unwrap();
        end.join().unwrap();
        caller.join().unwrap().unwrap();
        assert!(journal.count() <= 2);
        assert!(elapsed() <= Duration::from_secs(16));
    });
}

// C3, S5
#[test]
fn a_lease_of_a_replaced_fetch_is_adopted() {
    explore(|| {
        let journal = Journal::default();
        let store = WatchedStore::new(&journal);
        let layer = TokenStoreLayer::new(store.clone());
        let (fixture, _runtime) = cache_over(&layer, &journal, |n| match n {
            1 => Answer::TokenAfterStall(token(n)),
            _ => Answer::Token(token(n)),
        });
        let stalling = Runtime::new();
        fixture.on(&stalling).spawn(|fixture| fixture.give_up(1)).join().unwrap();
        wait_until(|| journal.count() == 1);
        let callers = [(); 2].map(|()| {
            fixture.spawn(|fixture| {
                let got = fixture.get().unwrap();
                // The caller does not wait for the end of the lease, which lasts for 10 s.
                assert!(elapsed() <= 2 * SILENCE, "the callers took {:?}", elapsed());
                call_of(&got)
            })
        });
        let handle = stalling.handle().clone();
        // The runtime comes back during the takeover, or when the lease must be extended.
        let later = [SILENCE, Duration::from_secs(4)][thread_rng().gen_range(0..2)];
        let resume = fixture.spawn(move |_| {
            sleep(later);
            handle.resume();
        });
        let got = join(callers);
        assert_eq!(got[0], got[1]);
        resume.join().unwrap();
        fixture.on(&stalling).settle();
        fixture.settle();
        assert_eq!(call_of(&fixture.get_at_once()), got[0]);
        assert!(journal.count() <= 2);
        store.assert_no_lease_is_left();
        // Another process finds the same token in the store.
        let (other, _runtime) = process(&store);
        assert_eq!(call_of(&other.spawn(CacheFixture::get).join().unwrap().unwrap()), got[0]);
    });
}

// C3, S5
#[test]
fn one_of_several_caches_adopts_a_lease() {
    explore(|| {
        let journals = [(); 3].map(|()| Journal::default());
        let store = WatchedStore::new(&Journal::default());
        let layer = TokenStoreLayer::new(store.clone());
        let caches = [0, 1, 2].map(|index| {
            let is_first = index == 0;
            cache_over(&layer, &journals[index], move |n| match (is_first, n) {
                (true, 1) => Answer::TokenAfterStall(token(n)),
                _ => Answer::Token(token(n)),
            })
        });
        let stalling = Runtime::new();
        let (first, _) = &caches[0];
        first.on(&stalling).spawn(|fixture| fixture.give_up(1)).join().unwrap();
        wait_until(|| journals[0].count() == 1);
        // All presume the first fetch dead at the same time.
        let callers = caches.each_ref().map(|(fixture, _)| {
            // Not recorded in a journal, because each cache may bring the token of another one.
            fixture.spawn(|fixture| block_on(fixture.tokens.get()).map(drop).unwrap())
        });
        join(callers);
        assert!(elapsed() <= 2 * SILENCE, "the callers took {:?}", elapsed());
        drop(stalling);
        caches.iter().for_each(|(fixture, _)| fixture.settle());
        let calls: usize = journals.iter().map(Journal::count).sum();
        assert_eq!(calls, 2, "several caches have adopted the lease");
        store.assert_no_lease_is_left();
    });
}
