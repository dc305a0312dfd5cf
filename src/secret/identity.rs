//! Computes the identity of credentials, which decides whether they may share a token.

use std::fmt;

use sha2::{Digest, Sha256};

use super::Secret;

/// Collects the data that distinguishes credentials from other credentials.
///
/// Each part is preceded by its length, so the parts `"ab"`, `"c"` and the parts `"a"`, `"bc"` are
/// different identities. The parts go straight into a SHA-256 hash: only its digest is kept, and
/// the state of the hash is wiped.
///
/// # Example
///
/// A custom client authentication method that adds a key to another method:
///
/// ```
/// use tower_oauth2::ClientAuth;
/// use tower_oauth2::client_auth::Identity;
///
/// fn identify(client: &ClientAuth, gateway_key: &str, identity: &mut Identity) {
///     identity.client_auth(client).part(gateway_key);
/// }
/// # let _ = identify;
/// ```
pub struct Identity(Sha256);

/// A digest over all parts of an identity.
pub(crate) type IdentityDigest = [u8; 32];

impl Identity {
    pub(crate) fn new() -> Self {
        Self(Sha256::new())
    }

    /// Adds a part.
    pub fn part(&mut self, part: impl AsRef<[u8]>) -> &mut Self {
        let part = part.as_ref();
        // A length has 64 bits on every machine, because stores share records between machines by
        // the digest.
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part);
        self
    }

    /// Adds a secret, by its text or its source.
    ///
    /// It is the text of a fixed secret, and otherwise the path, function or other source. A secret
    /// that is read from a source may change without becoming another identity.
    pub fn secret(&mut self, secret: &Secret) -> &mut Self {
        self.nested(|identity| secret.identify(identity))
    }

    /// Adds the parts that `identify` adds, as one part.
    ///
    /// It adds their digest, so that an attacker cannot move a part from the inner identity to the
    /// outer one.
    pub(crate) fn nested(&mut self, identify: impl FnOnce(&mut Self)) -> &mut Self {
        let mut inner = Self::new();
        identify(&mut inner);
        self.part(inner.digest())
    }

    /// Adds a list of parts, as one part.
    pub(crate) fn list(&mut self, parts: impl IntoIterator<Item: AsRef<[u8]>>) -> &mut Self {
        self.nested(|identity| {
            for part in parts {
                identity.part(part);
            }
        })
    }

    /// Returns the digest over all parts.
    pub(crate) fn digest(self) -> IdentityDigest {
        self.0.finalize().into()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(add: impl FnOnce(&mut Identity)) -> IdentityDigest {
        let mut identity = Identity::new();
        add(&mut identity);
        identity.digest()
    }

    // S2
    #[test]
    fn different_splits_of_one_text_differ() {
        let splits: [&[&str]; 6] =
            [&["abc"], &["a", "bc"], &["ab", "c"], &["", "abc"], &["abc", ""], &["a", "b", "c"]];
        for (n, one) in splits.iter().enumerate() {
            for (m, other) in splits.iter().enumerate() {
                let digests = [one, other].map(|parts| {
                    digest(|identity| parts.iter().for_each(|part| _ = identity.part(part)))
                });
                assert_eq!(digests[0] == digests[1], n == m, "{one:?} {other:?}");
                let lists = [one, other].map(|parts| digest(|identity| _ = identity.list(*parts)));
                assert_eq!(lists[0] == lists[1], n == m, "{one:?} {other:?}");
            }
        }
    }

    // S2
    #[test]
    fn a_part_cannot_move_out_of_a_nested_identity() {
        let inner = digest(|identity| _ = identity.list(["a", "b"]));
        let outer = digest(|identity| _ = identity.list(["a"]).part("b"));
        assert_ne!(inner, outer);
        assert_ne!(digest(|identity| _ = identity.list(["a"])), digest(|i| _ = i.part("a")));
    }

    // S2
    #[test]
    fn secrets_count_by_value_path_or_name() {
        let secrets = [
            Secret::from("a"),
            Secret::from("b"),
            Secret::file("a"),
            Secret::from_fn("a", || async { Ok::<_, std::io::Error>("a") }),
        ];
        let digests = secrets.map(|secret| digest(|identity| _ = identity.secret(&secret)));
        for (n, one) in digests.iter().enumerate() {
            for (m, other) in digests.iter().enumerate() {
                assert_eq!(one == other, n == m, "{n} and {m}");
            }
        }
        assert_eq!(digests[0], digest(|identity| _ = identity.secret(&"a".into())));
    }

    // S2
    #[test]
    fn an_identity_is_the_same_on_every_machine() {
        let expected = Sha256::digest(b"\0\0\0\0\0\0\0\x03own");
        assert_eq!(digest(|identity| _ = identity.part("own"))[..], expected[..]);
    }
}
