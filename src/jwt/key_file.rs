use std::fmt;
use std::path::PathBuf;

use super::{Algorithm, SigningKey};
use crate::secret::{FileError, Identity, WatchedFile};

/// Reads a private key from a file that may be replaced.
///
/// The file has the key as PEM, as DER, or as a JWK in JSON. Its content tells which. The file is
/// read for every token request, so the next token request uses a rotated key. If the file is
/// missing, empty, half written or has no usable key, the token request fails with
/// [`ClientAuthentication`](crate::TokenErrorKind::ClientAuthentication). The error is transient.
///
/// Credentials are compared by the path: they stay equal when the content is replaced, and a token
/// that was issued for the old key stays in use.
///
/// # Example
///
/// ```
/// use tower_oauth2::ClientAuth;
/// use tower_oauth2::jwt::KeyFile;
///
/// // The server knows each key by the thumbprint of its public part.
/// let key = KeyFile::new("/run/secrets/client-key.pem").kid_from_thumbprint();
/// let auth = ClientAuth::private_key_jwt("client-id", key);
/// # let _ = auth;
/// ```
#[derive(Clone)]
pub struct KeyFile {
    file: WatchedFile,
    algorithm: Option<Algorithm>,
    kid: Kid,
}

#[derive(Clone)]
enum Kid {
    OfTheKey,
    Given(String),
    Thumbprint,
}

impl KeyFile {
    /// Creates a key that is read from the file at `path`.
    ///
    /// The file need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { file: WatchedFile::new(path.into()), algorithm: None, kid: Kid::OfTheKey }
    }

    /// Sets the algorithm, like [`SigningKey::with_algorithm`].
    ///
    /// An RSA key signs with `RS256` unless this sets another algorithm, such as `PS256`.
    #[must_use]
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = Some(algorithm);
        self
    }

    /// Sets the name under which the server knows the key (`kid`).
    ///
    /// It replaces the `kid` of a JWK.
    #[must_use]
    pub fn kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = Kid::Given(kid.into());
        self
    }

    /// Returns the name that was set with [`kid`](Self::kid).
    pub(super) fn given_kid(&self) -> Option<&str> {
        match &self.kid {
            Kid::Given(kid) => Some(kid),
            Kid::OfTheKey | Kid::Thumbprint => None,
        }
    }

    /// Uses the RFC 7638 thumbprint of the current key as its `kid`.
    #[must_use]
    pub fn kid_from_thumbprint(mut self) -> Self {
        self.kid = Kid::Thumbprint;
        self
    }

    /// Reads the current key.
    pub(crate) async fn read(&self) -> Result<SigningKey, FileError> {
        let content = self.file.read_bytes().await?;
        let read = SigningKey::from_any(content.as_slice()).and_then(|key| match self.algorithm {
            Some(algorithm) => key.with_algorithm(algorithm),
            None => Ok(key),
        });
        let key = read.map_err(|error| FileError::invalid_content(&self.file, error))?;
        Ok(match &self.kid {
            Kid::OfTheKey => key,
            Kid::Given(kid) => key.with_kid(kid),
            Kid::Thumbprint => {
                let kid = key.thumbprint();
                key.with_kid(kid)
            }
        })
    }

    /// Adds the path, and the settings for the algorithm and the `kid`.
    pub(crate) fn identify(&self, identity: &mut Identity) {
        identity.part(self.file.identity());
        identity.part(self.algorithm.map(|algorithm| algorithm.to_string()).unwrap_or_default());
        match &self.kid {
            Kid::OfTheKey => identity.part("own"),
            Kid::Given(kid) => identity.part("given").part(kid),
            Kid::Thumbprint => identity.part("thumbprint"),
        };
    }

    /// Returns a number that differs when the file has changed.
    pub(crate) fn version(&self) -> u64 {
        self.file.version()
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile").field("path", &self.file.path()).finish_non_exhaustive()
    }
}
