//! The contract of every store. These tests wait in real time, because servers have their own
//! clocks: times to live are short, and no test depends on speed.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower_oauth2::store::{StoredValue, TokenStore};

/// A duration longer than any test.
const LONG: Duration = Duration::from_secs(600);

/// The capabilities of a store besides `get` and `set`.
#[derive(Clone, Copy)]
pub struct Promises {
    /// Says whether `replace` and `lock` are atomic among all clients.
    pub compares: bool,
    /// Says whether `get` returns the remaining time to live.
    pub tells_time_to_live: bool,
    /// Says whether values expire.
    pub expires: bool,
    /// The resolution of times to live, by which a value may expire earlier or later.
    pub unit: Duration,
    /// The maximum size of a value in bytes.
    pub largest: usize,
}

impl Promises {
    pub fn all() -> Self {
        Self {
            compares: true,
            tells_time_to_live: true,
            expires: true,
            unit: Duration::from_millis(1),
            largest: 1 << 20,
        }
    }
}

/// Checks all promises of a store.
pub async fn check(store: impl TokenStore, promises: Promises) {
    let test = Arc::new(Test { store: Arc::new(store), promises });
    let mut tests = JoinSet::new();
    macro_rules! spawn {
        ($($name:ident)*) => {
            $({
                let test = test.clone();
                tests.spawn(async move { test.$name().await });
            })*
        };
    }
    spawn!(keeps_values keeps_large_values keeps_keys_apart ends_values keeps_values_for_ever);
    if !promises.compares {
        spawn!(lets_all_go_ahead);
    } else {
        spawn!(replaces ends_what_is_replaced lets_one_replace);
        spawn!(locks makes_leases_last_longer ends_leases lets_one_lock);
    }
    while let Some(ended) = tests.join_next().await {
        if let Err(error) = ended {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

struct Test<T> {
    store: Arc<T>,
    promises: Promises,
}

/// Returns a unique key in the format of a layer.
fn key() -> String {
    format!("{:032x}{:032x}", fastrand::u128(..), fastrand::u128(..))
}

/// Waits until a condition holds.
async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let wait = async {
        while !is_so().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

impl<T: TokenStore> Test<T> {
    async fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.store.get(key).await.unwrap().map(|stored| stored.value().to_vec())
    }

    async fn set(&self, key: &str, value: &[u8], time_to_live: Duration) {
        self.store.set(key, value, time_to_live).await.unwrap();
    }

    async fn replace(&self, key: &str, expected: Option<&[u8]>, value: &[u8]) -> bool {
        self.store.replace(key, expected, value, LONG).await.unwrap()
    }

    async fn lock(&self, key: &str, owner: &str, lease: Duration) -> bool {
        self.store.lock(key, owner, lease).await.unwrap()
    }

    async fn unlock(&self, key: &str, owner: &str) {
        self.store.unlock(key, owner).await.unwrap();
    }

    /// Returns a time to live that ends during a test.
    fn short(&self) -> Duration {
        Duration::from_millis(300).max(2 * self.promises.unit)
    }

    async fn keeps_values(self: Arc<Self>) {
        let key = &key();
        assert_eq!(self.value(key).await, None);
        let every_byte: Vec<_> = (0..=u8::MAX).collect();
        for value in
            [&b"one"[..], b"another", b"", &every_byte, b"\r\nEND\r\n$-1\r\n", b"{\"v\":1}"]
        {
            self.set(key, value, LONG).await;
            let stored = self.store.get(key).await.unwrap().unwrap();
            assert_eq!(stored.value(), value);
            self.check_life(&stored);
        }
        // The later time to live counts, whether it is longer or shorter.
        self.set(key, b"shorter", LONG / 2).await;
        let left = self.store.get(key).await.unwrap().unwrap().time_to_live();
        assert!(left.is_none_or(|left| left <= LONG / 2 + self.promises.unit), "{left:?}");
    }

    fn check_life(&self, stored: &StoredValue) {
        let left = stored.time_to_live();
        assert_eq!(left.is_some(), self.promises.tells_time_to_live);
        if let Some(left) = left {
            assert!(left <= LONG + self.promises.unit && left > LONG / 2, "{left:?}");
        }
    }

    async fn keeps_large_values(self: Arc<Self>) {
        let key = &key();
        let mut value = vec![0; self.promises.largest];
        value.fill_with(|| fastrand::u8(..));
        self.set(key, &value, LONG).await;
        assert!(self.value(key).await.as_ref() == Some(&value));
        if self.promises.compares {
            let mut other = value.clone();
            *other.last_mut().unwrap() ^= 1;
            assert!(!self.replace(key, Some(&other), b"new").await);
            assert!(self.replace(key, Some(&value), &other).await);
            assert!(self.value(key).await == Some(other));
        }
    }

    async fn keeps_keys_apart(self: Arc<Self>) {
        let keys: Vec<_> = (0..64).map(|_| key()).collect();
        for key in &keys {
            self.set(key, key.as_bytes(), LONG).await;
            assert!(self.lock(key, key, LONG).await);
        }
        for key in &keys {
            assert_eq!(self.value(key).await, Some(key.as_bytes().to_vec()));
            self.unlock(key, key).await;
            assert_eq!(self.value(key).await, Some(key.as_bytes().to_vec()));
        }
    }

    async fn ends_values(self: Arc<Self>) {
        if !self.promises.expires {
            return;
        }
        let key = &key();
        let begin = Instant::now();
        self.set(key, b"value", self.short()).await;
        until("a value ends", || async { self.value(key).await.is_none() }).await;
        assert!(begin.elapsed() + self.promises.unit >= self.short(), "{:?}", begin.elapsed());
        // A time to live below the resolution of the store may end at once.
        for life in [Duration::from_nanos(1), Duration::ZERO] {
            self.set(key, b"value", life).await;
            until("a short life ends", || async { self.value(key).await.is_none() }).await;
        }
        // A new value does not inherit the expiry of the previous one.
        self.set(key, b"old", self.short()).await;
        self.set(key, b"new", LONG).await;
        sleep(2 * self.short()).await;
        assert_eq!(self.value(key).await.as_deref(), Some(&b"new"[..]));
    }

    async fn keeps_values_for_ever(self: Arc<Self>) {
        let key = &key();
        self.set(key, b"value", Duration::MAX).await;
        assert_eq!(self.value(key).await.as_deref(), Some(&b"value"[..]));
        if self.promises.compares {
            assert!(self.store.replace(key, Some(b"value"), b"new", Duration::MAX).await.unwrap());
            assert_eq!(self.value(key).await.as_deref(), Some(&b"new"[..]));
            assert!(self.lock(key, "a", Duration::MAX).await);
            assert!(!self.lock(key, "b", Duration::MAX).await);
        }
    }

    async fn replaces(self: Arc<Self>) {
        let key = &key();
        assert!(!self.replace(key, Some(b"old"), b"new").await);
        assert!(!self.replace(key, Some(b""), b"new").await, "a missing value is not an empty one");
        assert_eq!(self.value(key).await, None);
        assert!(self.replace(key, None, b"1").await);
        self.check_life(&self.store.get(key).await.unwrap().unwrap());
        for wrong in [None, Some(&b"2"[..]), Some(b""), Some(b"11"), Some(b"1\0")] {
            assert!(!self.replace(key, wrong, b"new").await, "{wrong:?}");
            assert_eq!(self.value(key).await.as_deref(), Some(&b"1"[..]));
        }
        assert!(self.replace(key, Some(b"1"), b"").await);
        assert!(!self.replace(key, None, b"new").await, "an empty value is not a missing one");
        assert!(self.replace(key, Some(b""), b"\0\r\n\xff").await);
        assert!(self.replace(key, Some(b"\0\r\n\xff"), b"\0\r\n\xff").await);
        assert_eq!(self.value(key).await.as_deref(), Some(&b"\0\r\n\xff"[..]));
    }

    async fn ends_what_is_replaced(self: Arc<Self>) {
        let key = &key();
        assert!(self.store.replace(key, None, b"old", self.short()).await.unwrap());
        until("a value ends", || async { self.value(key).await.is_none() }).await;
        assert!(!self.replace(key, Some(b"old"), b"new").await);
        assert!(self.replace(key, None, b"new").await);
        assert_eq!(self.value(key).await.as_deref(), Some(&b"new"[..]));
    }

    async fn lets_one_replace(self: Arc<Self>) {
        let key = Arc::new(key());
        for expected in [None, Some(&b"first"[..])] {
            if let Some(first) = expected {
                self.set(&key, first, LONG).await;
            } else {
                assert_eq!(self.value(&key).await, None);
            }
            let winners = self
                .race(|test, n| {
                    let key = key.clone();
                    async move { test.replace(&key, expected, n.to_string().as_bytes()).await }
                })
                .await;
            let [winner] = winners[..] else { panic!("{winners:?}") };
            assert_eq!(self.value(&key).await, Some(winner.to_string().into_bytes()));
        }
    }

    async fn locks(self: Arc<Self>) {
        let (one, other) = (&key(), &key());
        self.unlock(one, "a").await;
        assert!(self.lock(one, "a", LONG).await);
        assert!(!self.lock(one, "b", LONG).await);
        assert!(self.lock(one, "a", LONG).await, "a can lock its own lease again");
        assert!(self.lock(other, "b", LONG).await, "keys have separate leases");
        self.unlock(one, "b").await;
        assert!(!self.lock(one, "b", LONG).await, "b cannot unlock the lease of a");
        self.unlock(one, "a").await;
        self.unlock(one, "a").await;
        assert!(self.lock(one, "b", LONG).await);
        assert!(!self.lock(one, "a", LONG).await);
        assert_eq!(self.value(one).await, None, "a lease is not a value");
        self.set(one, b"value", LONG).await;
        assert!(self.lock(one, "b", LONG).await, "a value is not a lease");
    }

    async fn makes_leases_last_longer(self: Arc<Self>) {
        let key = &key();
        assert!(self.lock(key, "a", self.short()).await);
        assert!(self.lock(key, "a", LONG).await);
        sleep(3 * self.short()).await;
        assert!(!self.lock(key, "b", LONG).await);
        // The duration counts from now, so a lease can be shortened too.
        assert!(self.lock(key, "a", self.short()).await);
        until("b has the lease", || self.lock(key, "b", LONG)).await;
    }

    async fn ends_leases(self: Arc<Self>) {
        let key = &key();
        let begin = Instant::now();
        assert!(self.lock(key, "a", self.short()).await);
        until("b has the lease", || self.lock(key, "b", LONG)).await;
        assert!(begin.elapsed() + self.promises.unit >= self.short(), "{:?}", begin.elapsed());
        self.unlock(key, "a").await;
        assert!(!self.lock(key, "a", LONG).await, "a cannot unlock the lease of b");
    }

    async fn lets_one_lock(self: Arc<Self>) {
        let key = Arc::new(key());
        for _ in 0..2 {
            let winners = self
                .race(|test, n| {
                    let key = key.clone();
                    async move { test.lock(&key, &n.to_string(), LONG).await }
                })
                .await;
            let [winner] = winners[..] else { panic!("{winners:?}") };
            self.unlock(&key, &winner.to_string()).await;
        }
    }

    async fn lets_all_go_ahead(self: Arc<Self>) {
        let key = &key();
        assert!(!self.replace(key, Some(b"old"), b"new").await);
        assert!(self.replace(key, None, b"1").await);
        assert!(!self.replace(key, None, b"2").await);
        assert!(self.replace(key, Some(b"1"), b"2").await);
        for owner in ["a", "b"] {
            assert!(self.lock(key, owner, LONG).await);
        }
        self.unlock(key, "a").await;
    }

    /// Returns the successful ones of 64 concurrent operations.
    async fn race<F>(self: &Arc<Self>, run: impl Fn(Arc<Self>, usize) -> F) -> Vec<usize>
    where
        F: Future<Output = bool> + Send + 'static,
    {
        let start = Arc::new(Barrier::new(64));
        let mut runners = JoinSet::new();
        for n in 0..64 {
            let (start, run) = (start.clone(), run(self.clone(), n));
            runners.spawn(async move {
                start.wait().await;
                run.await.then_some(n)
            });
        }
        runners.join_all().await.into_iter().flatten().collect()
    }
}
