//! Records that whoever keeps them can neither read nor change.

mod encryption_key;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::error::Unspecified;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{hkdf, hmac};
use tower::BoxError;
use zeroize::Zeroizing;

pub use self::encryption_key::EncryptionKey;
use super::{StoredValue, TokenStore, key};
use crate::error::ConfigError;

/// Of a sealed record's layout, and of how its keys are derived.
const VERSION: u8 = 1;

/// Another [`TokenStore`] behind a seal: whoever can read that one learns no token and can test no secret, and
/// what somebody else has put there is not taken for a token.
///
/// - Values are encrypted with AES-256-GCM under a random nonce. The key that a value is kept under is
///   authenticated with it, so that a record can not be moved to where another one belongs.
/// - Keys are asked for under their HMAC-SHA256. The plain key is a hash over the client's secret, among other
///   things, by which guesses of that secret could be checked.
/// - The keys for both are derived from the [`EncryptionKey`] with HKDF-SHA256.
/// - A record that does not open, for whatever reason, counts as none: that costs one token request, and then it
///   is replaced.
///
/// An attacker who can write to the store can still delete records, bring back older ones of the same
/// key, change when they end and hold leases. Deleted and old records cost token requests, because
/// the API decides whether a token is good. A lease that never ends costs each process one wait of a
/// [lease](crate::store::TokenStoreLayer::lease) and a half for each set of credentials: after that, the process
/// does not wait for this lease until it has found it free. It remembers 1,024 such leases; beyond
/// that, a token request may wait that long again, and never longer. No request fails. One seal key is good
/// for 2^32 records (NIST SP 800-38D section 8.3): with one token stored each second, for 136 years.
///
/// The time until a value ends passes through. With several keys, where nothing is found under the first, one look into
/// this store is as many looks into the one inside, all of them within the [deadline](crate::store::TokenStoreLayer::deadline) of
/// one. Seal keys are wiped from memory once they are taken; what is derived from them is not.
///
/// # How to change the key
///
/// Of the keys that are given, the first one seals and all of them open. In three steps, each of which reaches
/// every process before the next one begins:
///
/// 1. `[old, new]`: everybody can open what is sealed with the new key, and nobody seals with it yet.
/// 2. `[new, old]`: what is found under the old key is used until it ends, and what is stored is sealed
///    with the new one.
/// 3. `[new]`, as soon as the last token ended that was sealed with the old one (after a day for those that do not end), or at
///    once when the old key has leaked: then what it sealed is not found any more and asked for anew.
///
/// No step fails a request. While one is half done, both halves read what the other half stores, but each of them
/// takes its turns and replaces its tokens under its own first key: that is one token request more for each
/// time that all processes need a new token.
///
/// # Example
///
/// ```
/// use tower_oauth2::store::{EncryptedStore, EncryptionKey, MemoryStore, TokenStoreLayer};
///
/// # let (new, old) = (EncryptionKey::generate("new")?, EncryptionKey::generate("old")?);
/// # let file = format!("{}\n{}", new.to_text(), old.to_text());
/// // In the place of a store on another machine, and of `std::fs::read_to_string`:
/// let store = MemoryStore::new();
/// let keys = EncryptionKey::all_in(file)?;
/// let layer = TokenStoreLayer::new(EncryptedStore::new(store, keys)?);
/// # let _ = layer;
/// # Ok::<(), tower_oauth2::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct EncryptedStore<S> {
    inner: S,
    keys: Arc<Keys>,
}

struct Keys {
    /// Seals.
    first: Key,
    /// Open only.
    others: Vec<Key>,
    random: SystemRandom,
}

/// What is derived from a seal key.
struct Key {
    id: Box<str>,
    records: LessSafeKey,
    names: hmac::Key,
}

/// What is under a key.
#[derive(Default)]
struct Found {
    /// What it opens to, with the time that it has left.
    opened: Option<StoredValue>,
    /// What is there under the first key's name, whether it opens or not.
    at_first: Option<StoredValue>,
}

impl<S: TokenStore> EncryptedStore<S> {
    /// `inner` behind `keys`: the first one seals, all of them open.
    ///
    /// # Errors
    ///
    /// No key at all, and two keys with the same id.
    pub fn new(
        inner: S,
        keys: impl IntoIterator<Item = EncryptionKey>,
    ) -> Result<Self, ConfigError> {
        let keys: Vec<_> = keys.into_iter().collect();
        encryption_key::check_all(&keys)?;
        let mut keys = keys.iter().map(Key::derive).collect::<Result<Vec<_>, _>>()?;
        let first = keys.remove(0);
        let random = SystemRandom::new();
        Ok(Self { inner, keys: Arc::new(Keys { first, others: keys, random }) })
    }
}

impl<S> EncryptedStore<S> {
    /// The store inside.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The store inside.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The store inside.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: TokenStore> EncryptedStore<S> {
    async fn find(&self, key: &str) -> Result<Found, BoxError> {
        let Keys { first, others, .. } = &*self.keys;
        let at_first = self.inner.get(&first.name(key)).await?;
        let mut opened = at_first.as_ref().and_then(|stored| first.open(key, stored));
        for other in others {
            if opened.is_some() {
                break;
            }
            let stored = self.inner.get(&other.name(key)).await?;
            opened = stored.and_then(|stored| other.open(key, &stored));
        }
        Ok(Found { opened, at_first })
    }

    fn seal(&self, key: &str, value: &[u8]) -> Result<Vec<u8>, BoxError> {
        let Keys { first, random, .. } = &*self.keys;
        let sealed = first.seal(key, value, random);
        Ok(sealed.map_err(|Unspecified| "a record could not be sealed")?)
    }
}

impl Key {
    fn derive(key: &EncryptionKey) -> Result<Self, ConfigError> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"tower-oauth2 sealed 1");
        let secret = salt.extract(key.bytes());
        let unusable = |Unspecified| ConfigError::new("seal key", "can not be used");
        let records = secret.expand(&[b"records"], &AES_256_GCM).map_err(unusable)?;
        let names = secret.expand(&[b"names"], hmac::HMAC_SHA256).map_err(unusable)?;
        Ok(Self {
            id: key.id().into(),
            records: LessSafeKey::new(UnboundKey::from(records)),
            names: hmac::Key::from(names),
        })
    }

    /// Under which key the store inside is asked.
    fn name(&self, key: &str) -> String {
        key::hex(hmac::sign(&self.names, key.as_bytes()).as_ref())
    }

    /// Version and key id, in clear: no header is the beginning of another.
    fn header(&self) -> Vec<u8> {
        let length = u8::try_from(self.id.len()).unwrap_or(u8::MAX);
        [&[VERSION, length], self.id.as_bytes()].concat()
    }

    /// Header, nonce, and what is encrypted with its tag.
    fn seal(&self, key: &str, value: &[u8], random: &SystemRandom) -> Result<Vec<u8>, Unspecified> {
        let mut record = self.header();
        let data = Aad::from([&record, key.as_bytes()].concat());
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce)?;
        record.extend_from_slice(&nonce);

        // Encrypted where it is, so that nothing of it is left in clear.
        let mut value = Zeroizing::new(value.to_vec());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.records.seal_in_place_separate_tag(nonce, data, &mut value)?;
        record.extend_from_slice(&value);
        record.extend_from_slice(tag.as_ref());
        Ok(record)
    }

    /// What a record holds, if it was sealed with this key and for `key`.
    fn open(&self, key: &str, stored: &StoredValue) -> Option<StoredValue> {
        let header = self.header();
        let (nonce, rest) = stored.value().strip_prefix(&*header)?.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let data = Aad::from([&header, key.as_bytes()].concat());
        let mut rest = Zeroizing::new(rest.to_vec());
        let value = self.records.open_in_place(nonce, data, &mut rest).ok()?;
        let opened = StoredValue::new(&*value);
        Some(match stored.time_to_live() {
            Some(left) => opened.with_time_to_live(left),
            None => opened,
        })
    }
}

impl<S: TokenStore> TokenStore for EncryptedStore<S> {
    async fn get(&self, key: &str) -> Result<Option<StoredValue>, BoxError> {
        Ok(self.find(key).await?.opened)
    }

    async fn set(&self, key: &str, value: &[u8], time_to_live: Duration) -> Result<(), BoxError> {
        let sealed = self.seal(key, value)?;
        self.inner.set(&self.keys.first.name(key), &sealed, time_to_live).await
    }

    async fn replace(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
        time_to_live: Duration,
    ) -> Result<bool, BoxError> {
        // One value is never sealed the same way twice: what is compared is what is there now.
        let Found { opened, at_first } = self.find(key).await?;
        if opened.as_ref().map(StoredValue::value) != expected {
            return Ok(false);
        }
        let sealed = self.seal(key, value)?;
        if at_first.is_some() && opened.is_none() {
            tracing::warn!("a record in the store does not open; it is to be replaced");
        }
        let at_first = at_first.as_ref().map(StoredValue::value);
        self.inner.replace(&self.keys.first.name(key), at_first, &sealed, time_to_live).await
    }

    async fn lock(&self, key: &str, owner: &str, lease: Duration) -> Result<bool, BoxError> {
        self.inner.lock(&self.keys.first.name(key), owner, lease).await
    }

    async fn unlock(&self, key: &str, owner: &str) -> Result<(), BoxError> {
        self.inner.unlock(&self.keys.first.name(key), owner).await
    }
}

impl<S: fmt::Debug> fmt::Debug for EncryptedStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Keys { first, others, .. } = &*self.keys;
        let ids: Vec<_> = std::iter::once(first).chain(others).map(|key| &key.id).collect();
        f.debug_struct("EncryptedStore").field("inner", &self.inner).field("keys", &ids).finish()
    }
}
