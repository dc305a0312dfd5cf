//! Caches that share a store: a lease is held by one at a time, and is given back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shuttle::thread;
use tokio::runtime::Runtime;
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_oauth2_races::{
    AccessToken, MemoryStore, StoreLayer, Stored, TokenCache, TokenRequest, TokenStore,
};

use crate::support::*;

/// Knows who holds a lease.
#[derive(Clone, Default)]
struct Watched {
    store: MemoryStore,
    holders: Arc<Mutex<Vec<String>>>,
}

impl TokenStore for Watched {
    async fn get(&self, key: &str) -> Result<Option<Stored>, BoxError> {
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
            let mut holders = self.holders.lock().unwrap();
            if !holders.iter().any(|holder| holder == owner) {
                holders.push(owner.to_owned());
            }
        }
        pause().await;
        Ok(is_held)
    }

    async fn unlock(&self, key: &str, owner: &str) -> Result<(), BoxError> {
        pause().await;
        self.store.unlock(key, owner).await?;
        self.holders.lock().unwrap().retain(|holder| holder != owner);
        Ok(())
    }
}

/// A cache of its own over the store, on a runtime of its own.
fn process(store: &Watched, journal: &Journal) -> (World, Runtime) {
    let runtime = Runtime::new();
    let source = Source::new(journal.clone(), |n| Answer::Token(token(n)));
    let source = StoreLayer::new(store.clone()).layer(source);
    let cache = TokenCache::new(credentials("own"), source);
    let handle = runtime.handle().clone();
    (World { cache, journal: journal.clone(), handle }, runtime)
}

// S5
#[test]
fn processes_that_miss_at_once_make_one_token_request_and_leave_no_lease() {
    explore(|| {
        let (store, journal) = (Watched::default(), Journal::default());
        let fleet = [(); 3].map(|()| process(&store, &journal));
        let callers: Vec<_> = fleet.iter().map(|(world, _)| world.spawn(World::get)).collect();
        for got in join(callers) {
            assert_eq!(issue(&got.unwrap()), 1);
        }
        fleet.iter().for_each(|(world, _)| world.settle());
        assert_eq!(journal.count(), 1);
        assert!(store.holders.lock().unwrap().is_empty(), "a lease is left");
        // Pauses of 20 ms and twice that, but not for the end of a lease.
        assert!(tokio::time::elapsed() < Duration::from_secs(1));
    });
}

// S4, S5
#[test]
fn processes_whose_token_was_revoked_make_one_token_request_more() {
    explore(|| {
        let (store, journal) = (Watched::default(), Journal::default());
        let fleet = [(); 2].map(|()| process(&store, &journal));
        for (world, _) in &fleet {
            assert_eq!(issue(&world.spawn(World::get).join().unwrap().unwrap()), 1);
        }
        let callers = fleet.iter().map(|(world, _)| {
            world.spawn(|world| {
                // Each process says it for itself.
                world.cache.reject(&world.get().unwrap());
                assert_eq!(issue(&world.get().unwrap()), 2);
            })
        });
        join(callers.collect::<Vec<_>>());
        fleet.iter().for_each(|(world, _)| world.settle());
        assert_eq!(journal.count(), 2);
        assert!(store.holders.lock().unwrap().is_empty(), "a lease is left");
    });
}

// S5
#[test]
fn a_process_that_dies_holds_up_the_others_for_one_lease_at_most() {
    explore(|| {
        let (store, journal) = (Watched::default(), Journal::default());
        let (doomed, runtime) = process(&store, &journal);
        let (world, _runtime) = process(&store, &journal);
        let first = doomed.spawn(|world| world.give_up(1));
        let end = world.spawn(|_| drop(runtime));
        let caller = world.spawn(World::get);
        first.join().unwrap();
        end.join().unwrap();
        caller.join().unwrap().unwrap();
        assert!(journal.count() <= 2);
        assert!(tokio::time::elapsed() <= Duration::from_secs(16));
    });
}

// C3, S5
#[test]
fn a_stopped_runtime_holds_up_its_process_for_a_second_and_changes_nothing_later() {
    explore(|| {
        let store = Watched::default();
        let layer = StoreLayer::new(store.clone());
        let count = Arc::new(AtomicUsize::new(0));
        let source = service_fn(move |_: TokenRequest| {
            let n = count.fetch_add(1, Ordering::Relaxed) + 1;
            async move {
                pause().await;
                Ok::<_, BoxError>(token(n))
            }
        });
        let ask = |runtime: &Runtime| {
            let (handle, asked) = (runtime.handle().clone(), layer.layer(source.clone()));
            let request = TokenRequest::new(credentials("own"));
            let (sender, receiver) = tokio::sync::oneshot::channel();
            handle.spawn(async move { drop(sender.send(asked.oneshot(request).await)) });
            thread::spawn(move || {
                let got: Result<AccessToken, BoxError> =
                    shuttle::future::block_on(receiver).unwrap();
                issue(&got.unwrap())
            })
        };
        let (stopping, driven) = (Runtime::new(), Runtime::new());
        let late = ask(&stopping);
        let stop = {
            let stopping = stopping.handle().clone();
            thread::spawn(move || stopping.stop())
        };
        let successors = [(); 2].map(|()| ask(&driven));
        let tokens = join(successors);
        assert_eq!(tokens[0], tokens[1]);
        // A second without a sign of life, and a pause between two looks.
        assert!(tokio::time::elapsed() <= Duration::from_millis(2500));
        stop.join().unwrap();
        stopping.handle().resume();
        assert!([tokens[0], 1, 2].contains(&late.join().unwrap()));
        shuttle::future::block_on(stopping.handle().idle());
        shuttle::future::block_on(driven.handle().idle());
        assert_eq!(ask(&driven).join().unwrap(), tokens[0], "the stored token was replaced");
        assert!(store.holders.lock().unwrap().is_empty(), "a lease is left");
    });
}
