//! Under which key a token is kept.

use sha2::{Digest, Sha256};

use super::record;
use crate::credentials::ClientCredentials;

/// A hash over everything that makes the token what it is, as 64 hexadecimal digits. Records of another
/// version have other keys: two versions of this crate in one fleet leave each other's alone.
pub(super) fn of(credentials: &ClientCredentials) -> String {
    let mut hash = Sha256::new();
    hash.update(b"tower-oauth2 record ");
    hash.update(record::VERSION.to_be_bytes());
    hash.update(credentials.identity());
    hex(&hash.finalize())
}

/// Where it is told that a token request for what is kept under `key` has failed.
pub(super) fn of_failure(key: &str) -> String {
    hex(&Sha256::digest(format!("failure {key}")))
}

/// The claims that a token was asked for with, as told apart in a record.
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
        let credentials = ClientCredentials::new("https://auth.example.com/token", auth).unwrap();
        let credentials = credentials.scope("b a").audience("https://api.example.com");
        assert_eq!(
            of(&credentials),
            "8636bb4f8af68585e873742cf8b9b5c0ba652bdf1527a4b524e133edf9893ad9",
            "if this has to change, `record::VERSION` has to change with it"
        );
    }
}
