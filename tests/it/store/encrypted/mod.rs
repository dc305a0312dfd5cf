//! A store whose values are encrypted.

mod encryption_key;
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

/// Returns a key whose bytes are all `byte`.
fn key(id: &str, byte: u8) -> EncryptionKey {
    format!("{id}:{}", format!("{byte:02x}").repeat(32)).parse().unwrap()
}

fn old() -> EncryptionKey {
    key("old", 1)
}

fn new() -> EncryptionKey {
    key("new", 2)
}

/// Returns a store that encrypts with the first key and decrypts with all.
fn encrypted<S>(store: &S, keys: impl IntoIterator<Item = EncryptionKey>) -> EncryptedStore<S>
where
    S: TokenStore + Clone,
{
    let mut keys = keys.into_iter();
    let store = EncryptedStore::new(store.clone(), keys.next().unwrap());
    keys.fold(store, EncryptedStore::also_opens)
}

async fn value(store: &impl TokenStore, key: &str) -> Option<Vec<u8>> {
    store.get(key).await.unwrap().map(|stored| stored.value().to_vec())
}

/// A store that shows its keys and values, as they are visible to an attacker.
#[derive(Clone, Default)]
struct Inner {
    inner: MemoryStore,
    keys: Arc<Mutex<Vec<String>>>,
}

impl Inner {
    /// Records a key and returns the store.
    fn record(&self, key: &str) -> &MemoryStore {
        self.keys.lock().unwrap().push(key.to_owned());
        &self.inner
    }

    /// Returns the key of the last operation.
    fn name(&self) -> String {
        self.keys.lock().unwrap().last().unwrap().clone()
    }

    fn names(&self) -> BTreeSet<String> {
        self.keys.lock().unwrap().iter().cloned().collect()
    }
}

impl TokenStore for Inner {
    async fn get(&self, key: &str) -> Result<Option<StoredValue>, BoxError> {
        self.record(key).get(key).await
    }

    async fn set(&self, key: &str, value: &[u8], ttl: Duration) -> Result<(), BoxError> {
        self.record(key).set(key, value, ttl).await
    }

    async fn replace(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
        ttl: Duration,
    ) -> Result<bool, BoxError> {
        self.record(key).replace(key, expected, value, ttl).await
    }

    async fn lock(&self, key: &str, owner: &str, lease: Duration) -> Result<bool, BoxError> {
        self.record(key).lock(key, owner, lease).await
    }

    async fn unlock(&self, key: &str, owner: &str) -> Result<(), BoxError> {
        self.record(key).unlock(key, owner).await
    }
}

// S7
#[tokio::test(start_paused = true)]
async fn encrypted_values_are_decrypted_and_hide_their_content() {
    let observed = Inner::default();
    let store = encrypted(&observed, [new()]);
    for plain in [&b""[..], b"token", &[7; 1 << 20]] {
        store.set(KEY, plain, HOUR).await.unwrap();
        let found = store.get(KEY).await.unwrap().unwrap();
        assert_eq!(found.value(), plain);
        assert_eq!(found.time_to_live(), Some(HOUR));

        let raw = value(&observed.inner, &observed.name()).await.unwrap();
        // Version, key id, nonce, tag.
        assert_eq!(raw.len(), plain.len() + 1 + 1 + 3 + 12 + 16);
        assert_eq!(raw[..5], *b"\x01\x03new");
        assert!(plain.is_empty() || !raw.windows(plain.len()).any(|part| part == plain));
    }
}

// S7
#[tokio::test(start_paused = true)]
async fn a_value_is_encrypted_differently_each_time() {
    let observed = Inner::default();
    let store = encrypted(&observed, [new()]);
    let mut seen = BTreeSet::new();
    for _ in 0..50 {
        store.set(KEY, b"token", HOUR).await.unwrap();
        let raw = value(&observed.inner, &observed.name()).await.unwrap();
        assert!(seen.insert(raw[5..17].to_vec()), "the nonce");
        assert!(seen.insert(raw[17..].to_vec()));
    }
}

// S2, S7
#[tokio::test(start_paused = true)]
async fn inner_keys_depend_on_the_encryption_key_only() {
    let mut names = BTreeSet::new();
    for key in [old(), new()] {
        for store_key in [KEY, "other"] {
            let observed = Inner::default();
            let store = encrypted(&observed, [key.clone()]);
            store.get(store_key).await.unwrap();
            store.set(store_key, b"token", HOUR).await.unwrap();
            store.replace(store_key, Some(b"token"), b"other", HOUR).await.unwrap();
            store.lock(store_key, "me", HOUR).await.unwrap();
            store.unlock(store_key, "me").await.unwrap();
            assert_eq!(observed.names().len(), 1, "all operations use one name");
            let name = observed.name();
            assert!(name.len() == 64 && name.bytes().all(|digit| digit.is_ascii_hexdigit()));
            assert!(!name.contains(KEY));
            names.insert(name);
        }
    }
    assert_eq!(names.len(), 4);
    // If this key changes, change the version of the format too.
    assert!(names.contains(NAME), "{names:?}");
}

// S7: processes of different builds share a store during a rolling update.
#[tokio::test(start_paused = true)]
async fn a_value_of_an_earlier_build_is_decrypted() {
    let observed = Inner::default();
    let store = encrypted(&observed, [new()]);
    store.get(KEY).await.unwrap();
    let raw: Vec<u8> = RECORD.as_bytes().chunks(2).map(hex_byte).collect();
    observed.inner.set(&observed.name(), &raw, HOUR).await.unwrap();
    assert_eq!(value(&store, KEY).await.as_deref(), Some(&b"a record"[..]));
}

/// Made by another implementation of HKDF, HMAC and AES-GCM.
const NAME: &str = "d1897870053da809428acb404bc1742562ff5a1a80988fbad2a1ee49ebb048cb";
const RECORD: &str = "01036e6577000102030405060708090a0b7bfdf348a5d6793dab79d43f6b3c00\
    9e195d8104170d4e0b";

fn hex_byte(pair: &[u8]) -> u8 {
    u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()
}

// S7
#[tokio::test(start_paused = true)]
async fn a_value_with_any_changed_bit_is_a_miss() {
    let observed = Inner::default();
    let store = encrypted(&observed, [new()]);
    store.set(KEY, b"token", HOUR).await.unwrap();
    let name = observed.name();
    let raw = value(&observed.inner, &name).await.unwrap();
    let plant = async |raw: &[u8]| observed.inner.set(&name, raw, HOUR).await.unwrap();
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
    assert_eq!(value(&store, KEY).await, None, "a value that is not encrypted");
    plant(&raw).await;
    assert_eq!(value(&store, KEY).await.as_deref(), Some(&b"token"[..]));
}

// S7
#[tokio::test(start_paused = true)]
async fn a_value_is_bound_to_its_store_key_and_encryption_key() {
    let observed = Inner::default();
    let store = encrypted(&observed, [new()]);
    store.set(KEY, b"token", HOUR).await.unwrap();
    let raw = value(&observed.inner, &observed.name()).await.unwrap();
    store.get("other").await.unwrap();
    observed.inner.set(&observed.name(), &raw, HOUR).await.unwrap();
    assert_eq!(value(&store, "other").await, None, "moved to another key");

    // A key with the same id and other bytes, and one with the same bytes and another id.
    for other in [key("new", 3), key("newer", 2)] {
        let other = encrypted(&observed, [other]);
        other.get(KEY).await.unwrap();
        observed.inner.set(&observed.name(), &raw, HOUR).await.unwrap();
        assert_eq!(value(&other, KEY).await, None);
    }
}

// S4, S7
#[tokio::test(start_paused = true)]
async fn a_value_is_replaced_only_if_it_is_the_expected_one() {
    let observed = Inner::default();
    let store = encrypted(&observed, [new()]);
    let replace = async |expected: Option<&[u8]>, value: &[u8]| {
        store.replace(KEY, expected, value, HOUR).await.unwrap()
    };
    assert!(!replace(Some(b"one"), b"two").await, "there is no value");
    assert!(replace(None, b"one").await);
    assert!(!replace(None, b"two").await);
    assert!(!replace(Some(b"other"), b"two").await);
    assert_eq!(value(&store, KEY).await.as_deref(), Some(&b"one"[..]));
    assert!(replace(Some(b"one"), b"two").await);
    assert_eq!(value(&store, KEY).await.as_deref(), Some(&b"two"[..]));

    // A malformed value is treated as missing.
    observed.inner.set(&observed.name(), b"malformed", HOUR).await.unwrap();
    assert!(!replace(Some(b"malformed"), b"three").await);
    assert!(replace(None, b"three").await);
    assert_eq!(value(&store, KEY).await.as_deref(), Some(&b"three"[..]));
}

// S4, S7
#[tokio::test(start_paused = true)]
async fn one_of_several_concurrent_replacements_succeeds() {
    let slow = Double::new(|_| Act::WorkAfter(ms(10)));
    let store = encrypted(&slow, [new(), old()]);
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
        encrypted(&slow, [new()]).set(KEY, b"value-0", HOUR).await.unwrap();
    }
}

// S5, S7
#[tokio::test(start_paused = true)]
async fn leases_are_those_of_the_inner_store() {
    let store = encrypted(&MemoryStore::new(), [new(), old()]);
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
async fn errors_of_the_inner_store_are_returned() {
    let store = encrypted(&Double::new(|_| Act::Fail), [new(), old()]);
    store.get(KEY).await.unwrap_err();
    store.set(KEY, b"", HOUR).await.unwrap_err();
    store.replace(KEY, None, b"", HOUR).await.unwrap_err();
    store.lock(KEY, "me", HOUR).await.unwrap_err();
    store.unlock(KEY, "me").await.unwrap_err();
}

// S6, S7, alf 27
#[tokio::test(start_paused = true)]
async fn malformed_values_are_replaced_and_reported() {
    for malformed in [&b""[..], b"\x01", b"\x01\x03new", b"{}", &[0; 1 << 20]] {
        let (trace, _guard) = Trace::start();
        let observed = Inner::default();
        let layer = TokenStoreLayer::new(encrypted(&observed, [new(), old()]));
        let source = ScriptedSource::tokens(hour);
        ask(&layer, &source).await.unwrap();
        let reported = || {
            let lines = trace.lines();
            lines.iter().filter(|line| line.contains("cannot decrypt the stored value")).count()
        };
        assert_eq!(reported(), 0);
        observed.inner.set(&observed.name(), malformed, HOUR).await.unwrap();
        assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-2");
        assert_eq!(ask(&layer, &source).await.unwrap().secret(), "token-2");
        assert_eq!(reported(), 1);
    }
}

// S5, S7
#[tokio::test(start_paused = true)]
async fn a_fleet_shares_tokens_through_an_encrypted_store() {
    let store = Double::default();
    let layer = TokenStoreLayer::new(encrypted(&store, [new()]));
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
