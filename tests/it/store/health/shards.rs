//! Sharded stores: health is tracked per key.

use tokio::time::{Instant, sleep};
use tower::{BoxError, Layer, ServiceExt};
use tower_oauth2::TokenRequest;
use tower_oauth2::store::{StoredValue, TokenStore, TokenStoreLayer};

use super::super::double::{Act, Double, Op};
use super::*;

const CREDENTIALS: usize = 60;

/// A store of three shards, each of which has a third of the keys.
#[derive(Clone, Default)]
struct Sharded([Double; 3]);

impl Sharded {
    fn shard(&self, key: &str) -> &Double {
        &self.0[shard_of(key)]
    }
}

fn shard_of(key: &str) -> usize {
    usize::from_str_radix(&key[..4], 16).unwrap() % 3
}

impl TokenStore for Sharded {
    async fn get(&self, key: &str) -> Result<Option<StoredValue>, BoxError> {
        self.shard(key).get(key).await
    }

    async fn set(&self, key: &str, value: &[u8], time_to_live: Duration) -> Result<(), BoxError> {
        self.shard(key).set(key, value, time_to_live).await
    }

    async fn replace(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
        time_to_live: Duration,
    ) -> Result<bool, BoxError> {
        self.shard(key).replace(key, expected, value, time_to_live).await
    }

    async fn lock(&self, key: &str, owner: &str, lease: Duration) -> Result<bool, BoxError> {
        self.shard(key).lock(key, owner, lease).await
    }

    async fn unlock(&self, key: &str, owner: &str) -> Result<(), BoxError> {
        self.shard(key).unlock(key, owner).await
    }
}

fn nth_credentials(n: usize) -> Credentials {
    credentials().audience(format!("https://api-{n}.test"))
}

/// Sends the token request of a process without a token for the nth credentials.
fn ask_for(
    layer: &TokenStoreLayer,
    source: &ScriptedSource,
    n: usize,
) -> impl Future<Output = Result<AccessToken, BoxError>> + Send + 'static {
    layer.layer(source.clone()).oneshot(TokenRequest::new(nth_credentials(n)))
}

/// Returns a store with a token for all credentials. Counts the tokens on its first shard.
async fn sharded() -> (Sharded, usize) {
    let store = Sharded::default();
    let (layer, source) = (TokenStoreLayer::new(store.clone()), ScriptedSource::tokens(hour));
    let mut on_first = 0;
    for n in 0..CREDENTIALS {
        ask_for(&layer, &source, n).await.unwrap();
        on_first += usize::from(shard_of(&key_of(&nth_credentials(n)).await) == 0);
    }
    assert!((10..=30).contains(&on_first), "{on_first}");
    (store, on_first)
}

// S6
#[tokio::test(start_paused = true)]
async fn a_failed_shard_affects_only_its_own_keys() {
    for act in [Act::Fail, Act::Hang] {
        let (store, on_first) = sharded().await;
        store.0[0].becomes(move |_| act);
        let (layer, source) = (TokenStoreLayer::new(store.clone()), ScriptedSource::tokens(hour));
        for n in 0..CREDENTIALS {
            let start = Instant::now();
            ask_for(&layer, &source, n).await.unwrap();
            assert!(start.elapsed() <= ms(250), "{:?}", start.elapsed());
        }
        assert_eq!(source.count(), on_first, "{act:?}");
        // The same holds later and for concurrent requests.
        for round in 2..=10 {
            sleep(secs(5)).await;
            let all = (0..CREDENTIALS).map(|n| ask_for(&layer, &source, n));
            assert!(at_once(all).await.iter().all(Result::is_ok));
            assert_eq!(source.count(), round * on_first, "{act:?}");
        }
    }
}

// S6
#[tokio::test(start_paused = true)]
async fn a_recovered_shard_is_used_again() {
    let (store, on_first) = sharded().await;
    store.0[0].becomes(|_| Act::Hang);
    let (layer, source) = (TokenStoreLayer::new(store.clone()), ScriptedSource::tokens(hour));
    for n in 0..CREDENTIALS {
        ask_for(&layer, &source, n).await.unwrap();
    }
    store.0[0].becomes(|_| Act::Work);
    sleep(secs(31)).await;
    for n in 0..CREDENTIALS {
        ask_for(&layer, &source, n).await.unwrap();
    }
    assert_eq!(source.count(), on_first);
}

/// Requests the tokens of many credentials in sequence. Returns the total duration.
async fn ask_for_many(layer: &TokenStoreLayer, source: &ScriptedSource) -> Duration {
    let start = Instant::now();
    for n in 0..10_000 {
        let asked_at = Instant::now();
        ask_for(layer, source, n).await.unwrap();
        assert!(asked_at.elapsed() <= ms(250), "{:?}", asked_at.elapsed());
    }
    start.elapsed()
}

// S6
#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_does_not_cost_a_deadline_per_key() {
    // Only some operations may hang, for example under `CLIENT PAUSE WRITE` in Redis.
    for hanging in [&Op::ALL[..], &[Op::Lock], &[Op::Replace], &[Op::Set, Op::Replace, Op::Lock]] {
        let store =
            Double::new(move |op| if hanging.contains(&op) { Act::Hang } else { Act::Work });
        let (layer, source) = (TokenStoreLayer::new(store.clone()), ScriptedSource::tokens(hour));
        let took = ask_for_many(&layer, &source).await;
        assert!(took <= 20 * ms(250), "{hanging:?}: {took:?}");
        assert_eq!(source.count(), 10_000);
    }
}

// S6
#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_is_tried_after_each_backoff() {
    let store = Double::new(|_| Act::Hang);
    let (layer, source) = (TokenStoreLayer::new(store.clone()), ScriptedSource::tokens(hour));
    for n in 0..3_000 {
        ask_for(&layer, &source, n).await.unwrap();
        sleep(ms(100)).await;
    }
    // 300 s with back-offs of up to 30 s.
    assert!((20..=60).contains(&store.count()), "{}", store.count());

    store.becomes(|_| Act::Work);
    sleep(secs(31)).await;
    let other = TokenStoreLayer::new(store);
    for n in 10_000..10_020 {
        let token = ask_for(&layer, &source, n).await.unwrap();
        let found = ask_for(&other, &source, n).await.unwrap();
        assert_eq!(found.secret(), token.secret(), "tokens are shared again");
    }
}

// S5, S6: a mark has another key than its token, and may be on another shard.
#[tokio::test(start_paused = true)]
async fn a_mark_on_a_failed_shard_does_not_affect_its_token() {
    let store = Double::default();
    let token_key = key_of(&credentials()).await;
    let (layer, source) =
        (TokenStoreLayer::new(MarksHang(store.clone(), token_key)), ScriptedSource::tokens(hour));
    let other = TokenStoreLayer::new(store.clone());
    let held = slow(secs(5), |n| hour(n + 100));
    let holder = tokio::spawn(other.layer(held).oneshot(TokenRequest::new(credentials())));
    settle().await;
    // The process cannot read the mark, and still waits for the token.
    assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-101");
    holder.await.unwrap().unwrap();
    assert_eq!(source.count(), 0);
}

/// A store that hangs for all keys except one.
struct MarksHang(Double, String);

impl MarksHang {
    async fn hang_for_others(&self, key: &str) {
        if key != self.1 {
            std::future::pending().await
        }
    }
}

impl TokenStore for MarksHang {
    async fn get(&self, key: &str) -> Result<Option<StoredValue>, BoxError> {
        self.hang_for_others(key).await;
        self.0.get(key).await
    }

    async fn set(&self, key: &str, value: &[u8], time_to_live: Duration) -> Result<(), BoxError> {
        self.hang_for_others(key).await;
        self.0.set(key, value, time_to_live).await
    }

    async fn lock(&self, key: &str, owner: &str, lease: Duration) -> Result<bool, BoxError> {
        self.0.lock(key, owner, lease).await
    }
}
