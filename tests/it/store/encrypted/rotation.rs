use std::collections::BTreeSet;

use tokio::time::sleep;
use tower_oauth2::TokenCache;
use tower_oauth2::store::{MemoryStore, TokenStore};

use super::*;

// S7
#[tokio::test(start_paused = true)]
async fn what_an_older_key_sealed_is_found_and_replaced_under_the_first() {
    let open = Open::default();
    let before = sealed(&open, [old()]);
    let between = sealed(&open, [new(), old()]);
    before.set(KEY, b"one", secs(60)).await.unwrap();
    let found = between.get(KEY).await.unwrap().unwrap();
    assert_eq!((found.value(), found.time_to_live()), (&b"one"[..], Some(secs(60))));
    assert!(!between.replace(KEY, None, b"two", HOUR).await.unwrap());
    assert!(between.replace(KEY, Some(b"one"), b"two", HOUR).await.unwrap());
    assert_eq!(value(&between, KEY).await.as_deref(), Some(&b"two"[..]));
    assert_eq!(value(&sealed(&open, [new()]), KEY).await.as_deref(), Some(&b"two"[..]));
    assert_eq!(value(&before, KEY).await.as_deref(), Some(&b"one"[..]), "it ends by itself");

    // Rubbish under the first name hides nothing, and is replaced.
    between.lock(KEY, "me", HOUR).await.unwrap();
    open.inner.set(&open.name(), b"rubbish", HOUR).await.unwrap();
    assert_eq!(value(&between, KEY).await.as_deref(), Some(&b"one"[..]));
    assert!(between.replace(KEY, Some(b"one"), b"three", HOUR).await.unwrap());
    assert_eq!(value(&between, KEY).await.as_deref(), Some(&b"three"[..]));
}

// S7: a fleet, half of which has taken each step; all lose their tokens at each.
#[tokio::test(start_paused = true)]
async fn a_fleet_changes_its_key_in_three_steps_without_a_failure() {
    let store = MemoryStore::new();
    let source = slow(ms(300), hour);
    let mut caches: Vec<TokenCache> = Vec::new();
    let steps = [vec![old()], vec![old(), new()], vec![new(), old()], vec![new()]];
    caches.extend((0..16).map(|_| process(sealed(&store, steps[0].clone()), &source)));
    let same = |tokens: Vec<String>| tokens.into_iter().collect::<BTreeSet<_>>().len();
    assert_eq!(same(secrets(&caches).await), 1);
    assert_eq!(source.count(), 1);
    for step in &steps[1..] {
        for half in [0..8, 8..16] {
            for n in half {
                // Begun anew: it finds the token that is there.
                caches[n] = process(sealed(&store, step.clone()), &source);
            }
            let before = source.count();
            secrets(&caches).await;
            assert_eq!(source.count(), before, "nobody asks because of a new key");

            for cache in &caches {
                let rejected = cache.get().await.unwrap();
                cache.reject(&rejected);
            }
            secrets(&caches).await;
            let asked = source.count() - before;
            assert!((1..=2).contains(&asked), "{asked}");
            sleep(secs(3600)).await;
            let before = source.count();
            secrets(&caches).await;
            let asked = source.count() - before;
            assert!((1..=2).contains(&asked), "{asked}");
        }
        let before = source.count();
        sleep(secs(3600)).await;
        assert_eq!(same(secrets(&caches).await), 1);
        assert_eq!(source.count(), before + 1, "all have taken the step");
    }
}

// S7: taking the old key away at once costs a token request and nothing else.
#[tokio::test(start_paused = true)]
async fn what_no_key_opens_is_asked_for_anew() {
    let store = MemoryStore::new();
    let source = Source::of(hour);
    assert_eq!(secret(&process(sealed(&store, [old()]), &source)).await, "token-1");
    assert_eq!(secret(&process(sealed(&store, [new()]), &source)).await, "token-2");
    assert_eq!(secret(&process(sealed(&store, [new()]), &source)).await, "token-2");
    assert_eq!(source.count(), 2);
}
