//! Defines the key that encrypts stored values, and its text format.

use std::fmt;
use std::str::FromStr;

use crate::crypto::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use crate::error::ConfigError;

const NAME: &str = "encryption key";

/// The length of a key in bytes.
const LENGTH: usize = 32;

/// The maximum length of the text of a key, which is 64 hexadecimal digits.
const MAX_TEXT: usize = 2 * LENGTH;

/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Encrypts the values of an [`EncryptedStore`](super::EncryptedStore).
///
/// It consists of 32 random bytes and an id. The id distinguishes keys, for example by their date.
/// Each stored value contains it unencrypted.
///
/// The text form is `id:key`, with the key in base64 or as 64 hexadecimal digits. For example,
/// `openssl rand -base64 32` makes such a key. Parse it with [`FromStr`] or
/// [`all_in`](Self::all_in). The key is wiped from memory on drop, and `Debug` redacts it.
///
/// # Example
///
/// ```
/// use tower_oauth2::store::EncryptionKey;
///
/// let file = "
///     ## The current key, and then the previous one.
///     2026-07:bm90IGEgc2VjcmV0OiBpdCBpcyBpbiB0aGUgZG9jcy4=
///     2026-01:6e6f74206120736563726574206569746865723a20616c736f20696e20646f63
/// ";
/// let keys = EncryptionKey::all_in(file)?;
/// assert_eq!(keys[0].id(), "2026-07");
/// let debug = format!("{:?}", keys[1]);
/// assert_eq!(debug, "EncryptionKey { id: \"2026-01\", key: \"**redacted**\" }");
/// # Ok::<(), tower_oauth2::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct EncryptionKey {
    id: Box<str>,
    bytes: Zeroizing<[u8; LENGTH]>,
}

impl EncryptionKey {
    /// Generates a key with the random number generator of the operating system.
    ///
    /// All processes that share a store need the same key: distribute its [text](Self::to_text).
    ///
    /// # Errors
    ///
    /// Returns an error if the id does not consist of 1 to 64 ASCII letters, digits, `-`, `_` or
    /// `.`, and if the operating system provides no random numbers.
    pub fn generate(id: impl AsRef<str>) -> Result<Self, ConfigError> {
        let id = parse_id(id.as_ref())?;
        let mut bytes = Zeroizing::new([0; LENGTH]);
        SystemRandom::new()
            .fill(&mut *bytes)
            .map_err(|_| ConfigError::new(NAME, "cannot be generated: no random numbers"))?;
        Ok(Self { id, bytes })
    }

    /// Parses the text of a key file with one key per line.
    ///
    /// Returns the keys in the order of the file. Empty lines and lines that begin with `#` are
    /// ignored.
    ///
    /// # Errors
    ///
    /// Returns an error if a line is not a key, if two keys have the same id, or if there is no
    /// key.
    pub fn all_in(text: impl AsRef<str>) -> Result<Vec<Self>, ConfigError> {
        let text = text.as_ref();
        let lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines().map(str::trim);
        let keys = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(Self::from_str)
            .collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(ConfigError::new("encryption keys", "must not be empty"));
        }
        let is_duplicate =
            |&(n, key): &(usize, &Self)| keys[..n].iter().any(|other| other.id == key.id);
        if let Some((_, key)) = keys.iter().enumerate().find(is_duplicate) {
            let error = ConfigError::new("encryption keys", "must have different ids");
            return Err(error.with_value(&key.id));
        }
        Ok(keys)
    }

    /// Returns the id of the key.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns `id:key` with the key in base64, for a key file.
    ///
    /// The text is secret: do not log it.
    pub fn to_text(&self) -> String {
        // The text has its final capacity, because growing would leave a copy of the key in memory.
        let mut text = String::with_capacity(self.id.len() + 1 + MAX_TEXT);
        text.push_str(&self.id);
        text.push(':');
        BASE64_STANDARD.encode_string(*self.bytes, &mut text);
        text
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &*self.bytes
    }
}

/// Returns the id if it is valid.
///
/// It must fit into the header of a value and into a line of text.
fn parse_id(id: &str) -> Result<Box<str>, ConfigError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=64).contains(&id.len()) && id.bytes().all(is_plain) {
        Ok(id.into())
    } else {
        // The error does not quote the id, because it may be a key at the wrong place.
        Err(ConfigError::new(NAME, "must have an id of 1 to 64 letters, digits, '-', '_' or '.'"))
    }
}

impl FromStr for EncryptionKey {
    type Err = ConfigError;

    /// Parses `id:key`, with the key in base64 or as 64 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let Some((id, key)) = text.trim().split_once(':') else {
            return Err(ConfigError::new(NAME, "must have the form id:key"));
        };
        let key = key.trim();
        if key.len() > MAX_TEXT {
            return Err(ConfigError::new(NAME, "must be 32 bytes long"));
        }
        let mut bytes = Zeroizing::new([0; MAX_TEXT]);
        let length = if key.len() == MAX_TEXT {
            decode_hex(key, &mut *bytes)
        } else {
            BASE64.decode_slice(key, &mut *bytes).ok()
        };
        let Some(length) = length else {
            return Err(ConfigError::new(NAME, "must be base64 or 64 hexadecimal digits"));
        };
        let id = parse_id(id.trim_end())?;
        let bytes = <[u8; LENGTH]>::try_from(&bytes[..length])
            .map_err(|_| ConfigError::new(NAME, "must be 32 bytes long"))?;
        Ok(Self { id, bytes: Zeroizing::new(bytes) })
    }
}

/// Decodes hexadecimal digits and returns the number of bytes, or `None` for other characters.
fn decode_hex(digits: &str, bytes: &mut [u8]) -> Option<usize> {
    let digit =
        |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    for (pair, byte) in digits.as_bytes().chunks_exact(2).zip(bytes) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(digits.len() / 2)
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptionKey").field("id", &self.id).field("key", &"**redacted**").finish()
    }
}
