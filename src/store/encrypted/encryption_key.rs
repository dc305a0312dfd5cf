//! The secret under which records are sealed.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::error::ConfigError;

const WHAT: &str = "seal key";

/// How long a key is, in bytes.
const LENGTH: usize = 32;

/// No spelling of a key is longer: 64 hexadecimal digits.
const LONGEST_TEXT: usize = 2 * LENGTH;

/// With or without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A secret of 32 random bytes under which a [`EncryptedStore`](super::EncryptedStore) store keeps its records, and an id
/// that tells it from others: a date, say. The id stands in clear in each record.
///
/// As text it is `id:key`, the key in base64 or as 64 hexadecimal digits, such as
/// `openssl rand -base64 32` makes it. Its bytes are wiped from memory when it is dropped, and `Debug` never
/// shows them.
///
/// # Example
///
/// ```
/// use tower_oauth2::store::EncryptionKey;
///
/// let file = "
///     ## The newest first.
///     2026-07:bm90IGEgc2VjcmV0OiBpdCBpcyBpbiB0aGUgZG9jcy4=
///     2026-01:6e6f74206120736563726574206569746865723a20616c736f20696e20646f63
/// ";
/// let keys = EncryptionKey::all_in(file)?;
/// assert_eq!(keys[0].id(), "2026-07");
/// assert_eq!(format!("{:?}", keys[1]), "EncryptionKey { id: \"2026-01\", key: \"**redacted**\" }");
/// # Ok::<(), tower_oauth2::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct EncryptionKey {
    id: Box<str>,
    bytes: Zeroizing<[u8; LENGTH]>,
}

impl EncryptionKey {
    /// The key of these 32 bytes, which have to be random and secret: a passphrase is no key.
    ///
    /// # Errors
    ///
    /// An id that is not 1 to 64 letters, digits, `-`, `_` or `.` of ASCII, and a key that is not 32
    /// bytes long.
    pub fn new(id: impl AsRef<str>, key: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let id = checked(id.as_ref())?;
        let bytes = <[u8; LENGTH]>::try_from(key.as_ref())
            .map_err(|_| ConfigError::new(WHAT, "is not 32 bytes long"))?;
        Ok(Self { id, bytes: Zeroizing::new(bytes) })
    }

    /// A new key, out of the operating system's randomness. Every process of a fleet needs the same:
    /// keep its [text](Self::to_text).
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and an operating system that has no randomness to give.
    pub fn generate(id: impl AsRef<str>) -> Result<Self, ConfigError> {
        let id = checked(id.as_ref())?;
        let mut bytes = Zeroizing::new([0; LENGTH]);
        SystemRandom::new()
            .fill(&mut *bytes)
            .map_err(|_| ConfigError::new(WHAT, "can not be drawn: no randomness"))?;
        Ok(Self { id, bytes })
    }

    /// The keys in the text of a key file, one a line, the newest first. Empty lines, and those that begin
    /// with `#`, are left out.
    ///
    /// # Errors
    ///
    /// A line that is no key, two keys of one id, and a text without any.
    pub fn all_in(text: impl AsRef<str>) -> Result<Vec<Self>, ConfigError> {
        let text = text.as_ref();
        let lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines().map(str::trim);
        let keys = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(Self::from_str)
            .collect::<Result<Vec<_>, _>>()?;
        check_all(&keys)?;
        Ok(keys)
    }

    /// What tells it from other keys.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `id:key` in base64, for a key file. Do not log it.
    pub fn to_text(&self) -> String {
        // With room for all of it: memory that is outgrown is not wiped.
        let mut text = String::with_capacity(self.id.len() + 1 + LONGEST_TEXT);
        text.push_str(&self.id);
        text.push(':');
        BASE64_STANDARD.encode_string(*self.bytes, &mut text);
        text
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &*self.bytes
    }
}

/// At least one, and none that can be taken for another.
pub(super) fn check_all(keys: &[EncryptionKey]) -> Result<(), ConfigError> {
    if keys.is_empty() {
        return Err(ConfigError::new("seal keys", "there are none"));
    }
    let is_known =
        |(n, key): (usize, &EncryptionKey)| keys[..n].iter().any(|known| known.id == key.id);
    if keys.iter().enumerate().any(is_known) {
        return Err(ConfigError::new("seal keys", "two have the same id"));
    }
    Ok(())
}

/// An id that fits into a record's header and into a line of text.
fn checked(id: &str) -> Result<Box<str>, ConfigError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=64).contains(&id.len()) && id.bytes().all(is_plain) {
        Ok(id.into())
    } else {
        // It may be the key itself, in the wrong place.
        Err(ConfigError::new(WHAT, "needs an id of 1 to 64 letters, digits, '-', '_' or '.'"))
    }
}

impl FromStr for EncryptionKey {
    type Err = ConfigError;

    /// The key that is written as `id:key`, in base64 or hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let Some((id, key)) = text.trim().split_once(':') else {
            return Err(ConfigError::new(WHAT, "is to be written as id:key"));
        };
        let key = key.trim();
        if key.len() > LONGEST_TEXT {
            return Err(ConfigError::new(WHAT, "is not 32 bytes long"));
        }
        let mut bytes = Zeroizing::new([0; LONGEST_TEXT]);
        let length = if key.len() == LONGEST_TEXT {
            decode_hex(key, &mut *bytes)
        } else {
            BASE64.decode_slice(key, &mut *bytes).ok()
        };
        match length {
            Some(length) => Self::new(id.trim_end(), &bytes[..length]),
            None => Err(ConfigError::new(WHAT, "is neither base64 nor 64 hexadecimal digits")),
        }
    }
}

/// How many bytes it came to; none for anything that is not hexadecimal.
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
