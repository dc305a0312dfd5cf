//! The keys under which tokens and marks are stored.

use sha2::{Digest, Sha256};

use super::record;
use crate::credentials::Credentials;

/// Returns a hash over everything that makes the token what it is, as 64 hexadecimal digits.
///
/// Records of another version have other keys, so that two versions of this crate in one fleet do
/// not replace each other's records.
pub(super) fn of(credentials: &Credentials) -> String {
    let mut hash = Sha256::new();
    hash.update(b"tower-oauth2 record ");
    hash.update(record::VERSION.to_be_bytes());
    hash.update(credentials.identity());
    hex(&hash.finalize())
}

/// Returns the key of the mark that a token request for `key` has brought nothing to share.
pub(super) fn of_mark(key: &str) -> String {
    hex(&Sha256::digest(format!("mark {key}")))
}

/// Returns a hash of the claims that a token was requested with, for its record.
pub(super) fn of_claims(claims: &str) -> String {
    hex(&Sha256::digest(claims))
}

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
            of(&credentials),
            "8636bb4f8af68585e873742cf8b9b5c0ba652bdf1527a4b524e133edf9893ad9",
            "if this has to change, `record::VERSION` has to change with it"
        );
    }
}
