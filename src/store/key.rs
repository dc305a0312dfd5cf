//! Computes the keys of stored tokens and marks.

use std::ops::Deref;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tracing::field::DisplayValue;

use crate::credentials::Credentials;
use crate::util::printable::{self, Printable};

/// The version of the record format and of the data in its key.
pub(super) const RECORD_VERSION: u64 = 1;

/// The key of a stored token or mark, with a label for events.
#[derive(Clone, Debug, Default)]
pub(super) struct StoreKey {
    text: String,
    label: Option<Arc<str>>,
}

impl StoreKey {
    /// Returns the label as a field of an event.
    ///
    /// The event has no such field if there is no label.
    pub(super) fn label_field(&self) -> Option<DisplayValue<Printable<&str>>> {
        printable::field(self.label.as_deref())
    }
}

impl Deref for StoreKey {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

/// Returns the key of a token: a hash of its credentials in 64 hexadecimal digits.
///
/// The hash includes the version of the record, so that two versions of this crate that share a
/// store do not replace each other's records.
pub(super) fn token_key(credentials: &Credentials) -> StoreKey {
    let mut hash = Sha256::new();
    hash.update(b"tower-oauth2 record ");
    hash.update(RECORD_VERSION.to_be_bytes());
    hash.update(credentials.digest());
    StoreKey { text: hex(&hash.finalize()), label: credentials.shared_label() }
}

/// Returns the key of the mark for `key`.
///
/// The mark says that a token request has produced no token to share.
pub(super) fn mark_key(key: &StoreKey) -> StoreKey {
    let text = hex(&Sha256::digest(format!("mark {}", key.text)));
    StoreKey { text, label: key.label.clone() }
}

/// Returns a hash of requested claims, for the record of a token.
pub(super) fn hash_claims(claims: &str) -> String {
    hex(&Sha256::digest(claims))
}

/// Returns bytes as lowercase hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_auth::ClientAuth;

    // S2
    #[test]
    fn keys_are_the_same_on_every_machine() {
        let auth = ClientAuth::client_secret_basic("client-id", "s3cr3t");
        let credentials = Credentials::new("https://auth.example.com/token", auth).unwrap();
        let credentials = credentials.scope("b a").audience("https://api.example.com");
        assert_eq!(
            &*token_key(&credentials),
            "b9cbc754d0b03a0ae1f640998eda7924fb032557cc71f6df49ed6b7dc62828bc",
            "if this has to change, `RECORD_VERSION` has to change with it"
        );
    }
}
