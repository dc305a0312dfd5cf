//! Key rotation.

use std::collections::BTreeSet;

use tokio::time::sleep;
use tower_oauth2::Tokens;
use tower_oauth2::store::{MemoryStore, TokenStore};

use super::*;

// S7
#[tokio::test(start_paused = true)]
async fn values_of_an_old_key_are_found_and_replaced() {
    let observed = Inner::default();
    let before = encrypted(&observed, [old()]);
    let between = encrypted(&observed, [new(), old()]);
    before.set(KEY, b"one", secs(60)).await.unwrap();
    let found = between.get(KEY).await.unwrap().unwrap();
    assert_eq!((found.value(), found.time_to_live()), (&b"one"[..], Some(secs(60))));
    assert!(!between.replace(KEY, None, b"two", HOUR).await.unwrap());
    assert!(between.replace(KEY, Some(b"one"), b"two", HOUR).await.unwrap());
    assert_eq!(value(&between, KEY).await.as_deref(), Some(&b"two"[..]));
    assert_eq!(value(&encrypted(&observed, [new()]), KEY).await.as_deref(), Some(&b"two"[..]));
    assert_eq!(
        value(&before, KEY).await.as_deref(),
        Some(&b"one"[..]),
        "the old value stays until it expires"
    );

    // A malformed value of the first key does not hide the value of the old key, and is replaced.
    between.lock(KEY, "me", HOUR).await.unwrap();
    observed.inner.set(&observed.name(), b"malformed", HOUR).await.unwrap();
    assert_eq!(value(&between, KEY).await.as_deref(), Some(&b"one"[..]));
    assert!(between.replace(KEY, Some(b"one"), b"three", HOUR).await.unwrap());
    assert_eq!(value(&between, KEY).await.as_deref(), Some(&b"three"[..]));
}

// S7: half of the fleet has taken a step, and then all lose their tokens.
#[tokio::test(start_paused = true)]
async fn a_fleet_rotates_its_key_in_three_steps_without_failure() {
    let store = MemoryStore::new();
    let source = slow(ms(300), hour);
    let mut handles: Vec<Tokens> = Vec::new();
    let steps = [vec![old()], vec![old(), new()], vec![new(), old()], vec![new()]];
    handles.extend((0..16).map(|_| process(encrypted(&store, steps[0].clone()), &source)));
    let same = |tokens: Vec<String>| tokens.into_iter().collect::<BTreeSet<_>>().len();
    assert_eq!(same(secrets(&handles).await), 1);
    assert_eq!(source.count(), 1);
    for step in &steps[1..] {
        for half in [0..8, 8..16] {
            for n in half {
                // The process is restarted and finds the stored token.
                handles[n] = process(encrypted(&store, step.clone()), &source);
            }
            let before = source.count();
            secrets(&handles).await;
            assert_eq!(source.count(), before, "a new key costs no token request");

            for tokens in &handles {
                let rejected = tokens.get().await.unwrap();
                rejected.reject();
            }
            secrets(&handles).await;
            let fetches = source.count() - before;
            assert!((1..=2).contains(&fetches), "{fetches}");
            sleep(secs(3600)).await;
            let before = source.count();
            secrets(&handles).await;
            let fetches = source.count() - before;
            assert!((1..=2).contains(&fetches), "{fetches}");
        }
        let before = source.count();
        sleep(secs(3600)).await;
        assert_eq!(same(secrets(&handles).await), 1);
        assert_eq!(source.count(), before + 1, "all processes use the same first key");
    }
}

// S7: removing the old key at once costs one token request.
#[tokio::test(start_paused = true)]
async fn a_token_of_a_removed_key_is_requested_again() {
    let store = MemoryStore::new();
    let source = ScriptedSource::tokens(hour);
    assert_eq!(secret(&process(encrypted(&store, [old()]), &source)).await, "token-1");
    assert_eq!(secret(&process(encrypted(&store, [new()]), &source)).await, "token-2");
    assert_eq!(secret(&process(encrypted(&store, [new()]), &source)).await, "token-2");
    assert_eq!(source.count(), 2);
}
