//! Encrypts the values of another store and hides its keys.

mod encryption_key;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::crypto::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use crate::crypto::error::Unspecified;
use crate::crypto::rand::{SecureRandom, SystemRandom};
use crate::crypto::{hkdf, hmac};
use tower::BoxError;
use zeroize::Zeroizing;

pub use self::encryption_key::EncryptionKey;
use super::{StoredValue, TokenStore, key};

/// The version of the value's format and of the derivation of its keys.
const VERSION: u8 = 1;

/// Encrypts the values of another [`TokenStore`] and hides its keys.
///
/// An attacker who can read the inner store learns no token and cannot test guesses of a client
/// secret. An attacker who can write to it cannot make a process use a token of the attacker.
///
/// - Values are encrypted with AES-256-GCM and a random nonce. The store key of a value is
///   authenticated with it, so that a value cannot be moved to another key.
/// - The inner store receives the HMAC-SHA256 of a key instead of the key. The key itself is a hash
///   of the credentials, which would allow testing guesses of the client secret.
/// - HKDF-SHA256 derives the keys for both from the [`EncryptionKey`].
/// - A value that cannot be decrypted is treated as missing. It costs one token request, whose
///   token replaces it.
///
/// An attacker who can write to the inner store can still delete values, restore older values of
/// the same key, change their expiry and hold leases. Deleted and older values cost token requests,
/// because the API decides whether a token is valid. If the attacker holds a lease forever, each
/// process waits once for one and a half [leases](crate::store::TokenStoreLayer::lease) per set of
/// credentials. No request fails. A process remembers 1,024 such leases and may wait again for
/// others.
///
/// Use one key for at most 2^32 values (NIST SP 800-38D section 8.3). At one stored token per
/// second, that is 136 years. The memory of an `EncryptionKey` is wiped on drop, but the derived
/// keys are not.
///
/// # Key rotation
///
/// [`also_opens`](Self::also_opens) adds a key that decrypts but does not encrypt. Replace a key in
/// three steps. Complete each step in all processes before you start the next one:
///
/// 1. `EncryptedStore::new(store, old).also_opens(new)`: all processes can decrypt with the new key
///    before one of them encrypts with it.
/// 2. `EncryptedStore::new(store, new).also_opens(old)`: processes encrypt with the new key, and
///    use values of the old key until they expire.
/// 3. `EncryptedStore::new(store, new)`: start this step once the last token that was encrypted
///    with the old key has expired. Tokens without an expiry are stored for a day.
///
/// If the old key has leaked, go to step 3 at once. Tokens that are encrypted with the old key are
/// then requested again.
///
/// No step fails a request. During a step, processes before and after it use each other's values,
/// but each group has its own leases. This costs one more token request each time that all
/// processes need a new token. If the inner store has no value of the first key, a lookup tries
/// each further key, all within the [deadline](crate::store::TokenStoreLayer::deadline) of one
/// operation.
///
/// # Example
///
/// ```
/// use tower_oauth2::store::{EncryptedStore, EncryptionKey, MemoryStore, StoredTokens};
/// # use tower::service_fn;
/// # use tower_oauth2::{AccessToken, TokenRequest};
/// # let endpoint = service_fn(|_: TokenRequest| async { AccessToken::new("t") });
/// # let file = EncryptionKey::generate("2026-07")?.to_text();
///
/// // Read the key from a file, and use `RedisStore` or `MemcachedStore` in production.
/// let key: EncryptionKey = file.parse()?;
/// let store = EncryptedStore::new(MemoryStore::new(), key);
/// let source = StoredTokens::new(endpoint, store);
/// # let _ = source;
/// # Ok::<(), tower_oauth2::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct EncryptedStore<S> {
    inner: S,
    first: Arc<DerivedKeys>,
    /// Keys that only decrypt.
    others: Arc<[Arc<DerivedKeys>]>,
    random: SystemRandom,
}

/// Holds the keys that are derived from an [`EncryptionKey`].
struct DerivedKeys {
    id: Box<str>,
    values: LessSafeKey,
    names: hmac::Key,
}

/// The result of a lookup under all keys.
#[derive(Default)]
struct Lookup {
    /// The decrypted value with its remaining time to live.
    decrypted: Option<StoredValue>,
    /// The value under the name of the first key, decrypted or not.
    under_first: Option<StoredValue>,
}

impl<S: TokenStore> EncryptedStore<S> {
    /// Creates a store that encrypts the values of `store` with `key`.
    pub fn new(store: S, key: EncryptionKey) -> Self {
        Self {
            inner: store,
            first: Arc::new(DerivedKeys::derive(&key)),
            others: Arc::default(),
            random: SystemRandom::new(),
        }
    }

    /// Adds a key that decrypts values of the store but does not encrypt them.
    ///
    /// [Key rotation](Self#key-rotation) describes when to add a key. The order of several keys
    /// does not matter.
    #[must_use]
    pub fn also_opens(self, key: EncryptionKey) -> Self {
        let key = Arc::new(DerivedKeys::derive(&key));
        let others = self.others.iter().cloned().chain([key]).collect();
        Self { others, ..self }
    }
}

impl<S: TokenStore> EncryptedStore<S> {
    async fn find(&self, key: &str) -> Result<Lookup, BoxError> {
        let under_first = self.inner.get(&self.first.name(key)).await?;
        let mut decrypted = under_first.as_ref().and_then(|stored| self.first.decrypt(key, stored));
        for other in &*self.others {
            if decrypted.is_some() {
                break;
            }
            let stored = self.inner.get(&other.name(key)).await?;
            decrypted = stored.and_then(|stored| other.decrypt(key, &stored));
        }
        Ok(Lookup { decrypted, under_first })
    }

    fn encrypt(&self, key: &str, value: &[u8]) -> Result<Vec<u8>, BoxError> {
        let encrypted = self.first.encrypt(key, value, &self.random);
        Ok(encrypted.map_err(|Unspecified| "cannot encrypt a value for the store")?)
    }
}

impl DerivedKeys {
    fn derive(key: &EncryptionKey) -> Self {
        const INVARIANT: &str = "HKDF-SHA256 derives keys of 32 bytes";
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"tower-oauth2 sealed 1");
        let secret = salt.extract(key.bytes());
        let values = secret.expand(&[b"records"], &AES_256_GCM).expect(INVARIANT);
        let names = secret.expand(&[b"names"], hmac::HMAC_SHA256).expect(INVARIANT);
        Self {
            id: key.id().into(),
            values: LessSafeKey::new(UnboundKey::from(values)),
            names: hmac::Key::from(names),
        }
    }

    /// Returns the key of a value in the inner store.
    fn name(&self, key: &str) -> String {
        key::hex(hmac::sign(&self.names, key.as_bytes()).as_ref())
    }

    /// Returns the version and the id of the key, which precede a value unencrypted.
    ///
    /// The length of the id is included, so that no header is a prefix of another header.
    fn header(&self) -> Vec<u8> {
        let length = u8::try_from(self.id.len()).expect("`parse_id` accepts at most 64 bytes");
        [&[VERSION, length], self.id.as_bytes()].concat()
    }

    /// Returns the header, the nonce, the encrypted value and its tag.
    fn encrypt(
        &self,
        key: &str,
        value: &[u8],
        random: &SystemRandom,
    ) -> Result<Vec<u8>, Unspecified> {
        let mut encrypted = self.header();
        let data = Aad::from([&encrypted, key.as_bytes()].concat());
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce)?;
        encrypted.extend_from_slice(&nonce);

        // The value is encrypted in place, so that no unencrypted copy remains in memory.
        let mut value = Zeroizing::new(value.to_vec());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.values.seal_in_place_separate_tag(nonce, data, &mut value)?;
        encrypted.extend_from_slice(&value);
        encrypted.extend_from_slice(tag.as_ref());
        Ok(encrypted)
    }

    /// Returns the decrypted value if it was encrypted with this key and for `key`.
    fn decrypt(&self, key: &str, stored: &StoredValue) -> Option<StoredValue> {
        let header = self.header();
        let (nonce, rest) = stored.value().strip_prefix(&*header)?.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let data = Aad::from([&header, key.as_bytes()].concat());
        let mut rest = Zeroizing::new(rest.to_vec());
        let value = self.values.open_in_place(nonce, data, &mut rest).ok()?;
        let decrypted = StoredValue::new(&*value);
        Some(match stored.time_to_live() {
            Some(left) => decrypted.with_time_to_live(left),
            None => decrypted,
        })
    }
}

impl<S: TokenStore> TokenStore for EncryptedStore<S> {
    async fn get(&self, key: &str) -> Result<Option<StoredValue>, BoxError> {
        Ok(self.find(key).await?.decrypted)
    }

    async fn set(&self, key: &str, value: &[u8], time_to_live: Duration) -> Result<(), BoxError> {
        let encrypted = self.encrypt(key, value)?;
        self.inner.set(&self.first.name(key), &encrypted, time_to_live).await
    }

    async fn replace(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
        time_to_live: Duration,
    ) -> Result<bool, BoxError> {
        // The same value is encrypted differently each time. The decrypted current value is
        // therefore compared here, and the inner store compares the encrypted one.
        let Lookup { decrypted, under_first } = self.find(key).await?;
        if decrypted.as_ref().map(StoredValue::value) != expected {
            return Ok(false);
        }
        let encrypted = self.encrypt(key, value)?;
        if under_first.is_some() && decrypted.is_none() {
            tracing::warn!("cannot decrypt the stored value; the next token replaces it");
        }
        let current = under_first.as_ref().map(StoredValue::value);
        self.inner.replace(&self.first.name(key), current, &encrypted, time_to_live).await
    }

    async fn lock(&self, key: &str, owner: &str, lease: Duration) -> Result<bool, BoxError> {
        self.inner.lock(&self.first.name(key), owner, lease).await
    }

    async fn unlock(&self, key: &str, owner: &str) -> Result<(), BoxError> {
        self.inner.unlock(&self.first.name(key), owner).await
    }
}

impl<S: fmt::Debug> fmt::Debug for EncryptedStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = std::iter::once(&self.first).chain(&*self.others);
        let ids: Vec<_> = keys.map(|key| &key.id).collect();
        f.debug_struct("EncryptedStore").field("inner", &self.inner).field("keys", &ids).finish()
    }
}
