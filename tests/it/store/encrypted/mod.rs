//! A store behind a seal.

mod keys;
mod rotation;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use tokio::time::sleep;
use tower::{BoxError, Layer, ServiceExt};
use tower_oauth2::TokenRequest;
use tower_oauth2::store::{
    EncryptedStore, EncryptionKey, MemoryStore, StoredValue, TokenStore, TokenStoreLayer,
};

use super::double::{Act, Double, Op};
use super::*;

const KEY: &str = "0123456789abcdef";
const HOUR: Duration = Duration::from_secs(3600);

fn seal_key(id: &str, byte: u8) -> EncryptionKey {
    EncryptionKey::new(id, [byte; 32]).unwrap()
}

fn old() -> EncryptionKey {
    seal_key("old", 1)
}

fn new() -> EncryptionKey {
    seal_key("new", 2)
}

fn sealed<S>(store: &S, keys: impl IntoIterator<Item = EncryptionKey>) -> EncryptedStore<S>
where
    S: TokenStore + Clone,
{
    EncryptedStore::new(store.clone(), keys).unwrap()
}

async fn value(store: &impl TokenStore, key: &str) -> Option<Vec<u8>> {
    store.get(key).await.unwrap().map(|stored| stored.value().to_vec())
}

/// The keys and values that somebody sees who reads the store inside.
#[derive(Clone, Default)]
struct Open {
    inner: MemoryStore,
    keys: Arc<Mutex<Vec<String>>>,
}

impl Open {
    fn note(&self, key: &str) -> &MemoryStore {
        self.keys.lock().unwrap().push(key.to_owned());
        &self.inner
    }

    /// The last key that it was asked for.
    fn name(&self) -> String {
        self.keys.lock().unwrap().last().unwrap().clone()
    }

    fn names(&self) -> BTreeSet<String> {
        self.keys.lock().unwrap().iter().cloned().collect()
    }
}

impl TokenStore for Open {
    async fn get(&self, key: &str) -> Result<Option<StoredValue>, BoxError> {
        self.note(key).get(key).await
    }

    async fn set(&self, key: &str, value: &[u8], ttl: Duration) -> Result<(), BoxError> {
        self.note(key).set(key, value, ttl).await
    }

    async fn replace(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
        ttl: Duration,
    ) -> Result<bool, BoxError> {
        self.note(key).replace(key, expected, value, ttl).await
    }

    async fn lock(&self, key: &str, owner: &str, lease: Duration) -> Result<bool, BoxError> {
        self.note(key).lock(key, owner, lease).await
    }

    async fn unlock(&self, key: &str, owner: &str) -> Result<(), BoxError> {
        self.note(key).unlock(key, owner).await
    }
}

// S7
#[tokio::test(start_paused = true)]
async fn what_is_sealed_opens_and_shows_nothing() {
    let open = Open::default();
    let store = sealed(&open, [new()]);
    for plain in [&b""[..], b"token", &[7; 1 << 20]] {
        store.set(KEY, plain, HOUR).await.unwrap();
        let found = store.get(KEY).await.unwrap().unwrap();
        assert_eq!(found.value(), plain);
        assert_eq!(found.time_to_live(), Some(HOUR));

        let raw = value(&open.inner, &open.name()).await.unwrap();
        // Version, key id, nonce, tag.
        assert_eq!(raw.len(), plain.len() + 1 + 1 + 3 + 12 + 16);
        assert_eq!(raw[..5], *b"\x01\x03new");
        assert!(plain.is_empty() || !raw.windows(plain.len()).any(|part| part == plain));
    }
}

// S7
#[tokio::test(start_paused = true)]
async fn one_value_is_never_sealed_the_same_way_twice() {
    let open = Open::default();
    let store = sealed(&open, [new()]);
    let mut seen = BTreeSet::new();
    for _ in 0..50 {
        store.set(KEY, b"token", HOUR).await.unwrap();
        let raw = value(&open.inner, &open.name()).await.unwrap();
        assert!(seen.insert(raw[5..17].to_vec()), "the nonce");
        assert!(seen.insert(raw[17..].to_vec()));
    }
}

// S2, S7
#[tokio::test(start_paused = true)]
async fn names_are_keyed_and_the_same_on_every_machine() {
    let mut names = BTreeSet::new();
    for key in [old(), new()] {
        for asked in [KEY, "other"] {
            let open = Open::default();
            let store = sealed(&open, [key.clone()]);
            store.get(asked).await.unwrap();
            store.set(asked, b"token", HOUR).await.unwrap();
            store.replace(asked, Some(b"token"), b"other", HOUR).await.unwrap();
            store.lock(asked, "me", HOUR).await.unwrap();
            store.unlock(asked, "me").await.unwrap();
            assert_eq!(open.names().len(), 1, "all of them under one name");
            let name = open.name();
            assert!(name.len() == 64 && name.bytes().all(|digit| digit.is_ascii_hexdigit()));
            assert!(!name.contains(KEY));
            names.insert(name);
        }
    }
    assert_eq!(names.len(), 4);
    // If this has to change, the version of the record has to change with it.
    assert!(names.contains(NAME), "{names:?}");
}

// S7: so that a fleet can be updated process by process.
#[tokio::test(start_paused = true)]
async fn a_record_that_an_earlier_build_sealed_still_opens() {
    let open = Open::default();
    let store = sealed(&open, [new()]);
    store.get(KEY).await.unwrap();
    let raw: Vec<u8> = RECORD.as_bytes().chunks(2).map(hex_byte).collect();
    open.inner.set(&open.name(), &raw, HOUR).await.unwrap();
    assert_eq!(value(&store, KEY).await.as_deref(), Some(&b"a record"[..]));
}

/// As another implementation of HKDF, HMAC and AES-GCM makes them.
const NAME: &str = "d1897870053da809428acb404bc1742562ff5a1a80988fbad2a1ee49ebb048cb";
const RECORD: &str = "01036e6577000102030405060708090a0b7bfdf348a5d6793dab79d43f6b3c00\
    9e195d8104170d4e0b";

fn hex_byte(pair: &[u8]) -> u8 {
    u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()
}

// S7
#[tokio::test(start_paused = true)]
async fn what_was_tampered_with_is_a_miss_byte_by_byte() {
    let open = Open::default();
    let store = sealed(&open, [new()]);
    store.set(KEY, b"token", HOUR).await.unwrap();
    let name = open.name();
    let raw = value(&open.inner, &name).await.unwrap();
    let plant = async |raw: &[u8]| open.inner.set(&name, raw, HOUR).await.unwrap();
    for at in 0..raw.len() {
        for bit in 0..8 {
            let mut changed = raw.clone();
            changed[at] ^= 1 << bit;
            plant(&changed).await;
            assert_eq!(value(&store, KEY).await, None, "byte {at}, bit {bit}");
        }
        plant(&raw[..at]).await;
        assert_eq!(value(&store, KEY).await, None, "cut to {at}");
    }
    plant(&[&raw[..], &[0]].concat()).await;
    assert_eq!(value(&store, KEY).await, None);
    plant(b"token").await;
    assert_eq!(value(&store, KEY).await, None, "what was not sealed at all");
    plant(&raw).await;
    assert_eq!(value(&store, KEY).await.as_deref(), Some(&b"token"[..]));
}

// S7
#[tokio::test(start_paused = true)]
async fn a_record_opens_in_its_own_place_and_with_its_own_key_only() {
    let open = Open::default();
    let store = sealed(&open, [new()]);
    store.set(KEY, b"token", HOUR).await.unwrap();
    let raw = value(&open.inner, &open.name()).await.unwrap();
    store.get("other").await.unwrap();
    open.inner.set(&open.name(), &raw, HOUR).await.unwrap();
    assert_eq!(value(&store, "other").await, None, "moved");

    // The same id and other bytes, the same bytes and another id.
    for other in [seal_key("new", 3), seal_key("newer", 2)] {
        let other = sealed(&open, [other]);
        other.get(KEY).await.unwrap();
        open.inner.set(&open.name(), &raw, HOUR).await.unwrap();
        assert_eq!(value(&other, KEY).await, None);
    }
}

// S4, S7
#[tokio::test(start_paused = true)]
async fn a_value_is_replaced_only_if_it_is_what_is_expected() {
    let open = Open::default();
    let store = sealed(&open, [new()]);
    let replace = async |expected: Option<&[u8]>, value: &[u8]| {
        store.replace(KEY, expected, value, HOUR).await.unwrap()
    };
    assert!(!replace(Some(b"one"), b"two").await, "there is nothing");
    assert!(replace(None, b"one").await);
    assert!(!replace(None, b"two").await);
    assert!(!replace(Some(b"other"), b"two").await);
    assert_eq!(value(&store, KEY).await.as_deref(), Some(&b"one"[..]));
    assert!(replace(Some(b"one"), b"two").await);
    assert_eq!(value(&store, KEY).await.as_deref(), Some(&b"two"[..]));

    // Rubbish is nothing.
    open.inner.set(&open.name(), b"rubbish", HOUR).await.unwrap();
    assert!(!replace(Some(b"rubbish"), b"three").await);
    assert!(replace(None, b"three").await);
    assert_eq!(value(&store, KEY).await.as_deref(), Some(&b"three"[..]));
}

// S4, S7
#[tokio::test(start_paused = true)]
async fn of_two_that_replace_one_value_at_once_one_does() {
    let slow = Double::new(|_| Act::WorkAfter(ms(10)));
    let store = sealed(&slow, [new(), old()]);
    for expected in [None, Some(&b"value-0"[..])] {
        let replaced = at_once((0..8).map(|n| {
            let store = store.clone();
            async move {
                let value = format!("value-{n}");
                store.replace(KEY, expected, value.as_bytes(), HOUR).await.unwrap()
            }
        }))
        .await;
        assert_eq!(replaced.iter().filter(|replaced| **replaced).count(), 1);
        sealed(&slow, [new()]).set(KEY, b"value-0", HOUR).await.unwrap();
    }
}

// S5, S7
#[tokio::test(start_paused = true)]
async fn leases_are_those_of_the_store_inside() {
    let store = sealed(&MemoryStore::new(), [new(), old()]);
    assert!(store.lock(KEY, "one", secs(10)).await.unwrap());
    assert!(!store.lock(KEY, "other", secs(10)).await.unwrap());
    store.unlock(KEY, "other").await.unwrap();
    assert!(!store.lock(KEY, "other", secs(10)).await.unwrap());
    store.unlock(KEY, "one").await.unwrap();
    assert!(store.lock(KEY, "other", secs(10)).await.unwrap());
    sleep(secs(10)).await;
    assert!(store.lock(KEY, "one", secs(10)).await.unwrap());
}

// S6, S7
#[tokio::test(start_paused = true)]
async fn the_inner_stores_failures_are_passed_on() {
    let store = sealed(&Double::new(|_| Act::Fail), [new(), old()]);
    store.get(KEY).await.unwrap_err();
    store.set(KEY, b"", HOUR).await.unwrap_err();
    store.replace(KEY, None, b"", HOUR).await.unwrap_err();
    store.lock(KEY, "me", HOUR).await.unwrap_err();
    store.unlock(KEY, "me").await.unwrap_err();
}

// S6, S7, alf 27
#[tokio::test(start_paused = true)]
async fn rubbish_under_a_seal_is_replaced_and_that_is_told() {
    for rubbish in [&b""[..], b"\x01", b"\x01\x03new", b"{}", &[0; 1 << 20]] {
        let (trace, _guard) = Trace::start();
        let open = Open::default();
        let layer = TokenStoreLayer::new(sealed(&open, [new(), old()]));
        let source = Source::of(hour);
        ask(&layer, &source).await.unwrap();
        let told = || {
            let lines = trace.lines();
            lines.iter().filter(|line| line.contains("a record in the store does not open")).count()
        };
        assert_eq!(told(), 0);
        open.inner.set(&open.name(), rubbish, HOUR).await.unwrap();
        assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-2");
        assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-2");
        assert_eq!(told(), 1);
    }
}

// S5, S7
#[tokio::test(start_paused = true)]
async fn a_sealed_store_serves_a_layer_as_any_other_does() {
    let store = Double::default();
    let layer = TokenStoreLayer::new(sealed(&store, [new()]));
    let source = slow(ms(100), hour);
    let tokens = at_once(
        (0..8).map(|_| layer.layer(source.clone()).oneshot(TokenRequest::new(credentials()))),
    )
    .await;
    assert!(tokens.iter().all(|token| token.as_ref().unwrap().secret() == "token-1"));
    assert_eq!(source.count(), 1);
    let plain = key_of(&credentials()).await;
    assert!(store.log().iter().all(|entry| entry.key != plain));
    assert!(ops(&store).contains(&Op::Replace));
}
